// The official OpenAI client against a running server: node client.mjs BASE_URL KEYED_BASE_URL KEY
// The first server needs no key, the second does; both serve the tiny models of tests/golden.
import assert from "node:assert/strict";
import OpenAI from "openai";

const [baseURL, keyedURL, key] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0, timeout: 60000 });
const messages = [{ role: "user", content: "I have a sore throat." }];
const model = "tied-gqa2";
let passed = 0;

async function check(name, body) {
  try {
    await body();
  } catch (fault) {
    console.error(`not ok: ${name}`);
    throw fault;
  }
  passed += 1;
  console.log(`ok: ${name}`);
}

// The call fails with this class, status and code, and tells the request's id.
async function fails(call, Class, status, code, param) {
  const fault = await call().then(
    () => assert.fail("no error"),
    (e) => e,
  );
  assert.ok(fault instanceof Class, `${fault?.constructor?.name}: ${fault?.message}`);
  assert.equal(fault.status, status);
  assert.equal(fault.code, code);
  assert.equal(fault.param, param);
  assert.match(fault.requestID, /^[0-9a-f]{32}$/);
}

await check("models", async () => {
  const ids = [];
  for await (const one of client.models.list()) ids.push(one.id);
  assert.deepEqual(ids, [model, "embedding-gqa1", "reranker"]);
  assert.equal((await client.models.retrieve(model)).object, "model");
  await fails(() => client.models.retrieve("gpt-4"), OpenAI.NotFoundError, 404, "model_not_found", "model");
});

await check("chat", async () => {
  const answer = await client.chat.completions.create({ model, messages, max_tokens: 20, temperature: 0.7 });
  assert.equal(answer.object, "chat.completion");
  assert.equal(answer.choices.length, 1);
  assert.equal(answer.choices[0].message.role, "assistant");
  assert.equal(typeof answer.choices[0].message.content, "string");
  assert.ok(["stop", "length"].includes(answer.choices[0].finish_reason));
  assert.ok(answer.usage.prompt_tokens > 0);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  assert.match(answer._request_id, /^[0-9a-f]{32}$/);
});

await check("the same seed, the same answer", async () => {
  const ask = async (seed) => {
    const { choices } = await client.chat.completions.create({ model, messages, max_tokens: 24, temperature: 1.5, seed });
    return JSON.stringify(choices);
  };
  const first = await ask(11);
  assert.equal(await ask(11), first);
  assert.notEqual(await ask(12), first);
});

await check("a stream says what the whole says", async () => {
  const wish = { model, messages, max_tokens: 30, seed: 5, temperature: 1 };
  const whole = await client.chat.completions.create(wish);
  const stream = await client.chat.completions.create({ ...wish, stream: true, stream_options: { include_usage: true } });
  let content = "";
  let thought = "";
  let finish = null;
  let usage = null;
  for await (const chunk of stream) {
    content += chunk.choices[0]?.delta?.content ?? "";
    thought += chunk.choices[0]?.delta?.reasoning_content ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
  }
  assert.equal(content, whole.choices[0].message.content);
  assert.equal(thought, whole.choices[0].message.reasoning_content ?? "");
  assert.equal(finish, whole.choices[0].finish_reason);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
});

await check("the client's own gathering of a stream", async () => {
  const runner = client.chat.completions.stream({ model, messages, max_tokens: 12, seed: 3 });
  const final = await runner.finalChatCompletion();
  const whole = await client.chat.completions.create({ model, messages, max_tokens: 12, seed: 3 });
  assert.equal(final.choices[0].message.content, whole.choices[0].message.content);
});

await check("a stop string ends the answer before it", async () => {
  const ask = (stop) => client.completions.create({ model, prompt: "hello", temperature: 0, max_tokens: 16, stop });
  const { text } = (await ask(null)).choices[0];
  const mark = text.match(/.*?([ -~]{2})(?=.{2}$)/s)?.[1];
  assert.ok(mark, "the model's text has two plain characters");
  const cut = (await ask([mark, "never there"])).choices[0];
  assert.equal(cut.text, text.slice(0, text.indexOf(mark)));
  assert.equal(cut.finish_reason, "stop");
});

await check("an answer that keeps a schema", async () => {
  const schema = {
    type: "object",
    properties: { acuity: { type: "integer", minimum: 1, maximum: 5 }, advice: { type: "string", maxLength: 20 } },
    required: ["acuity", "advice"],
    additionalProperties: false,
  };
  for (let seed = 0; seed < 5; seed++) {
    const answer = await client.chat.completions.create({
      model, messages, seed, max_tokens: 60,
      response_format: { type: "json_schema", json_schema: { name: "triage", strict: true, schema } },
    });
    const value = JSON.parse(answer.choices[0].message.content);
    assert.deepEqual(Object.keys(value), ["acuity", "advice"]);
    assert.ok(Number.isInteger(value.acuity) && value.acuity >= 1 && value.acuity <= 5);
    assert.ok([...value.advice].length <= 20);
  }
  const object = await client.chat.completions.create({ model, messages, max_tokens: 30, response_format: { type: "json_object" } });
  assert.equal(typeof JSON.parse(object.choices[0].message.content), "object");
});

await check("log probabilities", async () => {
  const answer = await client.chat.completions.create({
    model, messages, max_tokens: 4, temperature: 0, logprobs: true, top_logprobs: 2, reasoning_effort: "none",
  });
  const { content } = answer.choices[0].logprobs;
  assert.equal(content.length, answer.usage.completion_tokens);
  assert.ok(content.every((token) => token.logprob <= 0 && token.top_logprobs.length === 2));
});

await check("fields that only we know", async () => {
  const answer = await client.chat.completions.create({
    model, messages, max_tokens: 30, thinking_budget_tokens: 4, top_k: 5, min_p: 0.01, repetition_penalty: 1.1,
    chat_template_kwargs: { enable_thinking: true },
  });
  assert.equal(answer.carepath.thinking_budget.requested, 4);
  assert.ok(answer.carepath.thinking_budget.used <= 4);
  assert.deepEqual(answer.warnings, ["unknown field: repetition_penalty"]);
});

await check("a stream that its client gives up", async () => {
  const stream = await client.chat.completions.create({
    model, messages, max_tokens: 100000, temperature: 0, stream: true, reasoning_effort: "none",
  });
  for await (const _ of stream) {
    stream.controller.abort();
    break;
  }
  const after = await client.chat.completions.create({ model, messages, max_tokens: 2 });
  assert.ok(after.usage.completion_tokens <= 2);
});

await check("embeddings in both encodings", async () => {
  const input = ["sore throat", "chest pain"];
  const packed = await client.embeddings.create({ model: "embedding-gqa1", input });
  const plain = await client.embeddings.create({ model: "embedding-gqa1", input, encoding_format: "float" });
  assert.equal(packed.data.length, 2);
  for (const [i, { embedding }] of plain.data.entries()) {
    assert.equal(embedding.length, 128);
    assert.deepEqual(Array.from(packed.data[i].embedding), embedding.map(Math.fround));
    assert.ok(Math.abs(embedding.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-5);
  }
  const short = await client.embeddings.create({ model: "embedding-gqa1", input: "x", dimensions: 32 });
  assert.equal(short.data[0].embedding.length, 32);
});

await check("errors have the right classes", async () => {
  const chat = (more) => () => client.chat.completions.create({ model, messages, ...more });
  await fails(chat({ model: "gpt-4" }), OpenAI.NotFoundError, 404, "model_not_found", "model");
  await fails(chat({ n: 2 }), OpenAI.BadRequestError, 400, "unsupported", "n");
  await fails(chat({ tools: [{ type: "function", function: { name: "f" } }] }), OpenAI.BadRequestError, 400, "unsupported", "tools");
  await fails(chat({ temperature: 9 }), OpenAI.UnprocessableEntityError, 422, "out_of_range", "temperature");
  await fails(chat({ messages: [] }), OpenAI.UnprocessableEntityError, 422, "out_of_range", "messages");
  await fails(
    chat({ response_format: { type: "json_schema", json_schema: { name: "x", schema: { type: "string", pattern: "^a" } } } }),
    OpenAI.BadRequestError, 400, "unsupported_schema", "response_format",
  );
  await fails(
    chat({ messages: [{ role: "user", content: "long ".repeat(60000) }], stream: true }),
    OpenAI.BadRequestError, 400, "context_length_exceeded", "messages",
  );
  await fails(
    chat({ messages: [{ role: "user", content: "x".repeat(2 << 20) }] }),
    OpenAI.APIError, 413, "body_too_large", null,
  );
});

await check("keys", async () => {
  const keyed = (apiKey) => new OpenAI({ baseURL: keyedURL, apiKey, maxRetries: 0 });
  const ask = (apiKey) => () => keyed(apiKey).chat.completions.create({ model, messages, max_tokens: 1 });
  await fails(ask("wrong"), OpenAI.AuthenticationError, 401, "invalid_key", "Authorization");
  assert.equal((await ask(key)()).object, "chat.completion");
});

console.log(`openai client: ${passed} checks passed`);
