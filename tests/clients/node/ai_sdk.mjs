// Vercel's AI SDK, over chat completions and over responses; prints JSON.
import { generateText, streamText, embed, tool } from "ai";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { z } from "zod";

const baseURL = process.argv[2];
const compatible = createOpenAICompatible({ name: "outrider", baseURL, apiKey: "sk-none" });
const openai = createOpenAI({ baseURL, apiKey: "sk-none" });
const models = { chat: compatible("m"), responses: openai.responses("m") };
const told = {};

for (const [name, model] of Object.entries(models)) {
  const plain = await generateText({ model, prompt: "hello" });
  const streamed = streamText({ model, prompt: "hello" });
  let text = "";
  for await (const piece of streamed.textStream) text += piece;
  const called = await generateText({
    model,
    prompt: "the weather?",
    tools: { get_weather: tool({ description: "d", inputSchema: z.object({ city: z.string() }) }) },
  });
  const blocked = [];
  try {
    await generateText({ model, prompt: "a bomb" });
  } catch (error) {
    blocked.push({ status: error.statusCode, retryable: error.isRetryable ?? null, name: error.name });
  }
  let streamError = null;
  const cut = streamText({ model, prompt: "a bomb", onError: ({ error }) => { streamError = error.statusCode; } });
  for await (const part of cut.fullStream) if (part.type === "error") streamError = part.error.statusCode;
  told[name] = {
    plain: plain.text,
    finish: plain.finishReason,
    tokens: plain.usage.totalTokens > 0,
    streamed: text,
    tool: { name: called.toolCalls[0].toolName, input: called.toolCalls[0].input },
    blocked,
    streamError,
  };
}
const { embedding } = await embed({ model: openai.embedding("m"), value: "hello" });
told.embedding = embedding.length;
console.log(JSON.stringify(told));
