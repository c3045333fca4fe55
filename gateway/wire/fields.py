"""Names for the places of OpenAI's documents, endpoint by endpoint. Data only: what is not named is still checked.

A path that no table names is `other_input` or `other_output`. The only strings that are not text
are fixed words of the protocol (`VOCABULARY`) under the keys that hold such words (`ENUMS`), and
object keys that the protocol itself defines (`KEYS`): none of them can carry a message. Payloads
that hold no text (`PAYLOADS`) are decoded; what is still unreadable is `opaque`, never silent.
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
# The place of each top-level field of a request; a field that holds messages or items is told by those.
REQUEST_TOP: dict[str, dict[str, Place]] = {
    "chat": {
        "tools": Place.TOOL_DEFINITION,
        "functions": Place.TOOL_DEFINITION,
        "tool_choice": Place.TOOL_DEFINITION,
        "function_call": Place.TOOL_DEFINITION,
        "response_format": Place.TOOL_DEFINITION,
    },
    "responses": {
        "input": Place.USER,
        "instructions": Place.SYSTEM,
        "prompt": Place.SYSTEM,
        "tools": Place.TOOL_DEFINITION,
        "tool_choice": Place.TOOL_DEFINITION,
        "text": Place.TOOL_DEFINITION,
    },
    "completions": {"prompt": Place.USER, "suffix": Place.USER},
    "embeddings": {"input": Place.USER},
    "moderations": {"input": Place.USER},
    "images": {"prompt": Place.USER},
    "speech": {"input": Place.USER, "instructions": Place.SYSTEM},
    "transcriptions": {
        "prompt": Place.USER,
        "keywords": Place.USER,
        "known_speaker_names": Place.USER,
        "file": Place.ATTACHMENT,
    },
    "models": {},
}
ATTACHMENTS = frozenset(
    {"image_url", "file", "input_audio", "video_url", "audio_url", "file_data", "file_url", "filename", "file_id"}
)
# Of an item of a responses request: what it is by its type; its parts by their key.
ITEMS = {
    "reasoning": Place.ASSISTANT,
    "mcp_list_tools": Place.TOOL_DEFINITION,
    "additional_tools": Place.TOOL_DEFINITION,
    "tool_search_output": Place.TOOL_DEFINITION,
    "mcp_approval_response": Place.USER,
    "program": Place.ASSISTANT,
}
ITEM_RESULTS = frozenset({"output", "outputs", "results", "error"})  # of a call that a server ran

# The place of each field of a chat message in an answer.
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
# Of the other endpoints' answers: the place of a top-level field or of a field of `data`.
ANSWER_TOP = {
    "images": {"revised_prompt": Place.CONTENT},
    "transcriptions": {
        "text": Place.CONTENT,
        "delta": Place.CONTENT,
        "segments": Place.CONTENT,
        "words": Place.CONTENT,
        "logprobs": Place.CONTENT,
    },
}
# Events of a responses stream whose text belongs to an output item: the steps below that item, and its place.
# A stem is the event's type without its last word (.delta, .done, .added).
STEMS: dict[str, tuple[tuple[str, ...], Place]] = {
    "response.output_text": (("content", "[content_index]", "text"), Place.CONTENT),
    "response.refusal": (("content", "[content_index]", "refusal"), Place.REFUSAL),
    "response.reasoning_text": (("content", "[content_index]", "text"), Place.REASONING),
    "response.reasoning_summary_text": (("summary", "[summary_index]", "text"), Place.REASONING),
    "response.function_call_arguments": (("arguments",), Place.TOOL_CALL),
    "response.mcp_call_arguments": (("arguments",), Place.TOOL_CALL),
    "response.custom_tool_call_input": (("input",), Place.TOOL_CALL),
    "response.code_interpreter_call_code": (("code",), Place.TOOL_CALL),
    "response.shell_call_command": (("action", "commands", "[command_index]"), Place.TOOL_CALL),
    "response.apply_patch_call_operation_diff": (("operation", "diff"), Place.TOOL_CALL),
    "response.audio.transcript": (("audio", "transcript"), Place.TRANSCRIPT),
}
# Fields of such events that hold the whole of what their deltas said.
WHOLE_FIELDS = frozenset("text refusal arguments input code command diff transcript".split())
# Fields of any event that name things: said once each, and no text goes on in them.
EVENT_ONCE = frozenset(
    "type item_id event_id id call_id name obfuscation size quality background output_format".split()
)
# Fields of a response that repeat the request: what the client said itself is not said again to the checks.
ECHOED = frozenset(
    "instructions tools text prompt metadata tool_choice user safety_identifier prompt_cache_key input "
    "previous_response_id conversation context_management reasoning prompt_cache_options".split()
)
# Text that stands elsewhere and cannot be read here: by key, what is missing.
REFERENCES = {
    "previous_response_id": "an earlier response",
    "conversation": "a conversation",
    "file_id": "a file",
    "file_ids": "files",
    "vector_store_ids": "a vector store",
    "skill_id": "a skill",
}
# Keys whose strings are encoded payloads: what such a payload is, and how long it is at least.
PAYLOADS: dict[str, tuple[str, int]] = {
    "b64_json": ("an image", 1),
    "partial_image_b64": ("an image", 1),
    "file_data": ("a file", 1),
    "encrypted_content": ("encrypted content", 1),
    "known_speaker_references": ("audio", 1),
    "result": ("an image", 64),
    "data": ("audio or a file", 64),
    "audio": ("audio", 64),
    "embedding": ("", 1),  # numbers: nothing is missing
}
AUDIO = frozenset({"input_audio", "audio"})  # below these `data` is a payload of any length
LINKED = frozenset({"image_url", "file_url", "video_url", "audio_url"})  # a URL of content that is not fetched
SURE = 256  # characters from which base64 under such a key is a payload and no text

ENUMS = frozenset(
    "type role object finish_reason service_tier tool_choice function_call reasoning_effort effort verbosity "
    "detail format modalities prompt_cache_retention mode search_context_size syntax status phase reason "
    "truncation include summary encoding_format response_format quality size style background moderation "
    "output_format input_fidelity stream_format category_applied_input_types required require_approval "
    "timestamp_granularities chunking_strategy ranker".split()
)
VOCABULARY = frozenset(
    # roles, kinds of parts, of messages and of answers
    "system developer user assistant tool function text image_url input_audio file refusal custom json_object "
    "json_schema auto none required stop length tool_calls content_filter function_call chat.completion "
    "chat.completion.chunk text_completion object string number integer boolean array null minimal low medium "
    "high xhigh default flex scale priority wav mp3 flac opus aac pcm16 pcm audio url_citation approximate "
    "content in_memory 24h score block grammar lark regex reasoning.text allowed_tools list embedding model "
    "float base64 png webp jpeg standard hd vivid natural transparent opaque url b64_json srt vtt verbose_json "
    "diarized_json sse json word segment transcribe translate "
    # responses
    "message response completed in_progress incomplete failed queued cancelled searching generating interpreting "
    "calling max_output_tokens input_text output_text input_image input_file summary_text reasoning_text "
    "reasoning function_call_output custom_tool_call custom_tool_call_output computer_call computer_call_output "
    "file_search_call web_search_call image_generation_call code_interpreter_call local_shell_call "
    "local_shell_call_output shell_call shell_call_output apply_patch_call apply_patch_call_output mcp_call "
    "mcp_list_tools mcp_approval_request mcp_approval_response item_reference compaction compaction_trigger "
    "program program_output tool_search_call tool_search_output additional_tools file_citation "
    "container_file_citation file_path web_search web_search_preview file_search computer computer_use_preview "
    "code_interpreter image_generation local_shell shell apply_patch mcp namespace tool_search "
    "programmatic_tool_calling disabled concise detailed commentary final_answer logs image never always "
    "response.created response.queued response.in_progress response.completed response.incomplete "
    "response.output_item.added response.output_item.done response.content_part.added response.content_part.done "
    "response.output_text.delta response.output_text.done response.refusal.delta response.refusal.done "
    "response.output_text.annotation.added response.reasoning_text.delta response.reasoning_text.done "
    "response.reasoning_summary_part.added response.reasoning_summary_part.done "
    "response.reasoning_summary_text.delta response.reasoning_summary_text.done "
    "response.function_call_arguments.delta response.function_call_arguments.done "
    "response.custom_tool_call_input.delta response.custom_tool_call_input.done "
    "response.mcp_call_arguments.delta response.mcp_call_arguments.done response.mcp_call.in_progress "
    "response.mcp_call.completed response.mcp_call.failed response.mcp_list_tools.in_progress "
    "response.mcp_list_tools.completed response.mcp_list_tools.failed "
    "response.code_interpreter_call_code.delta response.code_interpreter_call_code.done "
    "response.code_interpreter_call.in_progress response.code_interpreter_call.interpreting "
    "response.code_interpreter_call.completed response.web_search_call.in_progress "
    "response.web_search_call.searching response.web_search_call.completed response.file_search_call.in_progress "
    "response.file_search_call.searching response.file_search_call.completed "
    "response.image_generation_call.in_progress response.image_generation_call.generating "
    "response.image_generation_call.partial_image response.image_generation_call.completed "
    "response.audio.delta response.audio.done response.audio.transcript.delta response.audio.transcript.done "
    "response.shell_call_command.added response.shell_call_command.delta response.shell_call_command.done "
    "response.shell_call_output_content.delta response.shell_call_output_content.done "
    # images and audio
    "image_generation.partial_image image_generation.completed image_edit.partial_image image_edit.completed "
    "speech.audio.delta speech.audio.done transcript.text.delta transcript.text.segment "
    "transcript.text.done tokens duration image_generation_user_error".split()
)
CHAT_KEYS = frozenset(
    "model messages modalities audio n logprobs top_logprobs stop max_tokens max_completion_tokens temperature "
    "top_p frequency_penalty presence_penalty logit_bias seed stream stream_options tools tool_choice "
    "parallel_tool_calls functions function_call response_format prediction reasoning_effort verbosity "
    "web_search_options service_tier store metadata user safety_identifier prompt_cache_key "
    "prompt_cache_retention prompt_cache_options moderation".split()
)
RESPONSES_KEYS = frozenset(
    "model input instructions previous_response_id conversation prompt tools tool_choice parallel_tool_calls "
    "max_tool_calls max_output_tokens temperature top_p top_logprobs text reasoning include stream "
    "stream_options store background truncation metadata user safety_identifier prompt_cache_key "
    "prompt_cache_retention prompt_cache_options service_tier context_management moderation".split()
)
COMPLETIONS_KEYS = frozenset(
    "model prompt suffix best_of echo frequency_penalty logit_bias logprobs max_tokens n presence_penalty seed "
    "stop stream stream_options temperature top_p user".split()
)
EMBEDDINGS_KEYS = frozenset("model input encoding_format dimensions user".split())
MODERATIONS_KEYS = frozenset("model input".split())
IMAGES_KEYS = frozenset(
    "model prompt n size quality style background moderation output_compression output_format partial_images "
    "response_format stream user image mask input_fidelity".split()
)
SPEECH_KEYS = frozenset("model input voice instructions response_format speed stream_format".split())
TRANSCRIPTIONS_KEYS = frozenset(
    "model file prompt language languages response_format temperature stream include keywords "
    "timestamp_granularities chunking_strategy known_speaker_names known_speaker_references".split()
)
REQUEST_KEYS = (
    CHAT_KEYS
    | RESPONSES_KEYS
    | COMPLETIONS_KEYS
    | EMBEDDINGS_KEYS
    | MODERATIONS_KEYS
    | IMAGES_KEYS
    | SPEECH_KEYS
    | TRANSCRIPTIONS_KEYS
)
KEYS = REQUEST_KEYS | frozenset(
    # parts of requests
    "role content name refusal id tool_calls tool_call_id function arguments type custom input image_url url "
    "detail input_audio data format file_data file_id filename include_usage include_obfuscation policy mode "
    "output description parameters strict json_schema schema grammar definition syntax allowed_tools "
    "user_location approximate city country region timezone search_context_size top_k min_p "
    "repetition_penalty reasoning_content reasoning_details thinking thinking_blocks chat_template "
    "chat_template_kwargs documents title guided_json guided_regex guided_choice guided_grammar "
    "structured_outputs extra_body effort summary generate_summary phase "
    # items of responses, and their tools
    "acknowledged_safety_checks action actions allowed_domains always annotation approval_request_id approve "
    "attributes authorization call_id caller caller_id code command commands container container_id created_by "
    "diff domain domain_secrets encrypted_content env environment file_ids file_url filters fingerprint headers "
    "input_image_mask input_schema item item_id key keys languages logs max_output_length max_num_results "
    "namespace network_policy never operation outcome exit_code output_schema outputs path pattern "
    "pending_safety_checks queries query ranking_options ranker reason require_approval result results "
    "score score_threshold server_description server_label server_url skill_id skills source sources stderr "
    "stdout timeout_ms tool_names tunnel_id value variables vector_store_ids version working_directory x y "
    "button scroll_x scroll_y memory_limit display_width display_height "
    # JSON Schema
    "properties items enum const default additionalProperties required anyOf oneOf allOf not $ref $defs "
    "minimum maximum minLength maxLength minItems maxItems pattern examples nullable "
    # answers
    "object created choices index message delta finish_reason usage prompt_tokens completion_tokens "
    "total_tokens prompt_tokens_details completion_tokens_details cached_tokens cache_write_tokens "
    "reasoning_tokens audio_tokens accepted_prediction_tokens rejected_prediction_tokens system_fingerprint "
    "token logprob bytes annotations url_citation start_index end_index transcript expires_at obfuscation "
    "error param prompt_filter_results content_filter_results prompt_index text_offset token_logprobs tokens "
    # answers of responses and their events
    "created_at completed_at status incomplete_details output_text part response sequence_number output_index "
    "content_index summary_index annotation_index command_index partial_image_b64 partial_image_index "
    "input_tokens output_tokens input_tokens_details output_tokens_details billing payer "
    # answers of the rest
    "embedding flagged categories category_scores category_applied_input_types b64_json revised_prompt "
    "image_tokens text_tokens duration seconds segments words word start end speaker segment_id avg_logprob "
    "compression_ratio no_speech_prob seek languages owned_by shutdown_date root parent permission max_model_len".split()
)
