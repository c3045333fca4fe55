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

const response = await client.responses.create({ model: "m", input: "hello" });
told.response = response.output_text;
told.events = [];
let said = "";
for await (const event of await client.responses.create({ model: "m", input: "hello", stream: true })) {
  told.events.push(event.type);
  if (event.type === "response.output_text.delta") said += event.delta;
}
told.responseStreamed = said;
told.events = [told.events[0], told.events.at(-1)];

const embedded = await client.embeddings.create({ model: "m", input: ["a", "b"] });
told.embeddings = embedded.data.map((one) => one.embedding.length);
told.models = [];
for await (const model of client.models.list()) told.models.push(model.id);
const moderated = await client.moderations.create({ model: "outrider/safety", input: "a bomb" });
told.flagged = moderated.results[0].flagged;

told.blocked = [];
const ways = [
  (stream) => client.chat.completions.create({ model: "m", messages: [{ role: "user", content: "bomb" }], stream }),
  (stream) => client.responses.create({ model: "m", input: "bomb", stream }),
];
for (const way of ways) {
  for (const stream of [false, true]) {
    try {
      await way(stream);
      told.blocked.push(null);
    } catch (error) {
      told.blocked.push({ name: error.constructor.name, status: error.status, code: error.code });
    }
  }
}
console.log(JSON.stringify(told));
