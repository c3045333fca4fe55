"""Names for the places of a chat document. Data only: what is not named here is still checked.

A path that no table names is `other_input` or `other_output`. The only strings that are not text
are fixed words of the protocol (`VOCABULARY`) under the keys that hold such words (`ENUMS`), and
object keys that the protocol itself defines (`KEYS`): none of them can carry a message.
"""

from __future__ import annotations

from gateway.core.terms import Place

ROLES = {
    "system": Place.SYSTEM,
    "developer": Place.SYSTEM,
    "user": Place.USER,
    "assistant": Place.ASSISTANT,
    "tool": Place.TOOL_RESULT,
    "function": Place.TOOL_RESULT,
}
REQUEST_TOP = {
    "tools": Place.TOOL_DEFINITION,
    "functions": Place.TOOL_DEFINITION,
    "tool_choice": Place.TOOL_DEFINITION,
    "function_call": Place.TOOL_DEFINITION,
    "response_format": Place.TOOL_DEFINITION,
}
ATTACHMENTS = frozenset({"image_url", "file", "input_audio", "video_url", "audio_url"})
ANSWER = {
    "content": Place.CONTENT,
    "text": Place.CONTENT,
    "reasoning_content": Place.REASONING,
    "reasoning": Place.REASONING,
    "reasoning_details": Place.REASONING,
    "thinking": Place.REASONING,
    "thinking_blocks": Place.REASONING,
    "refusal": Place.REFUSAL,
    "tool_calls": Place.TOOL_CALL,
    "function_call": Place.TOOL_CALL,
}

ENUMS = frozenset(
    "type role object finish_reason service_tier tool_choice function_call reasoning_effort effort verbosity "
    "detail format modalities prompt_cache_retention mode search_context_size syntax".split()
)
VOCABULARY = frozenset(
    "system developer user assistant tool function text image_url input_audio file refusal custom json_object "
    "json_schema auto none required stop length tool_calls content_filter function_call chat.completion "
    "chat.completion.chunk text_completion object string number integer boolean array null minimal low medium "
    "high xhigh default flex scale priority wav mp3 flac opus pcm16 pcm audio url_citation approximate "
    "content in_memory 24h score block grammar lark regex reasoning.text allowed_tools".split()
)
KEYS = frozenset(
    # requests
    "model messages role content name refusal audio id tool_calls tool_call_id function arguments type custom "
    "input function_call text image_url url detail input_audio data format file file_data file_id filename "
    "modalities n logprobs top_logprobs stop max_tokens max_completion_tokens temperature top_p "
    "frequency_penalty presence_penalty logit_bias seed stream stream_options include_usage "
    "include_obfuscation tools tool_choice parallel_tool_calls functions response_format prediction "
    "reasoning_effort verbosity web_search_options service_tier store metadata user safety_identifier "
    "prompt_cache_key prompt_cache_retention prompt_cache_options moderation policy mode output description "
    "parameters strict json_schema schema grammar definition syntax allowed_tools voice user_location "
    "approximate city country region timezone search_context_size top_k min_p repetition_penalty "
    "reasoning_content reasoning reasoning_details thinking thinking_blocks chat_template "
    "chat_template_kwargs documents title guided_json guided_regex guided_choice guided_grammar "
    "structured_outputs extra_body "
    # JSON Schema
    "properties items enum const default additionalProperties required anyOf oneOf allOf not $ref $defs "
    "minimum maximum minLength maxLength minItems maxItems pattern examples nullable "
    # answers
    "object created choices index message delta finish_reason usage prompt_tokens completion_tokens "
    "total_tokens prompt_tokens_details completion_tokens_details cached_tokens cache_write_tokens "
    "reasoning_tokens audio_tokens accepted_prediction_tokens rejected_prediction_tokens system_fingerprint "
    "token logprob bytes annotations url_citation start_index end_index transcript expires_at obfuscation "
    "error code param prompt_filter_results content_filter_results prompt_index".split()
)
REQUEST_KEYS = frozenset(
    "model messages modalities audio n logprobs top_logprobs stop max_tokens max_completion_tokens temperature "
    "top_p frequency_penalty presence_penalty logit_bias seed stream stream_options tools tool_choice "
    "parallel_tool_calls functions function_call response_format prediction reasoning_effort verbosity "
    "web_search_options service_tier store metadata user safety_identifier prompt_cache_key "
    "prompt_cache_retention prompt_cache_options moderation".split()
)
