// The official npm client against the gateway whose base URL is the first argument; prints JSON.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "sk-none" });
const hello = [{ role: "user", content: "hello" }];
const told = {};

const plain = await client.chat.completions.create({ model: "m", messages: hello });
told.plain = plain.choices[0].message.content;
told.requestId = plain._request_id;

told.streamed = "";
for await (const chunk of await client.chat.completions.create({ model: "m", messages: hello, stream: true })) {
  told.streamed += chunk.choices[0]?.delta?.content ?? "";
}

const tools = await client.chat.completions.create({ model: "m", messages: [{ role: "user", content: "weather" }] });
told.tool = tools.choices[0].message.tool_calls[0].function;

told.blocked = [];
for (const stream of [false, true]) {
  try {
    await client.chat.completions.create({ model: "m", messages: [{ role: "user", content: "bomb" }], stream });
    told.blocked.push(null);
  } catch (error) {
    told.blocked.push({ name: error.constructor.name, status: error.status, code: error.code });
  }
}
console.log(JSON.stringify(told));
