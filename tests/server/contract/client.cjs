// What does a JavaScript client get? Prints one JSON object and ends.
//   node client.cjs URL TRANSPORT[,TRANSPORT]
const { io } = require("socket.io-client");

const [url, list] = process.argv.slice(2);
const transports = list.split(",");
const socket = io(url, { transports, reconnection: false, forceNew: true });
const seen = [];
const waiting = [];

socket.onAny((name, data) => {
  seen.push([name, data]);
  for (const waiter of [...waiting]) {
    if (waiter.names.includes(name)) {
      waiting.splice(waiting.indexOf(waiter), 1);
      waiter.resolve([name, data]);
    }
  }
});

const next = (...names) => new Promise((resolve) => waiting.push({ names, resolve }));

async function ask(event, data, reply) {
  const answer = next(reply);
  socket.emit(event, data);
  return (await answer)[1];
}

// All events of one generation; `onChunk` is called at the first chunk.
async function generate(data, onChunk) {
  const from = seen.length;
  const end = next("text_generated", "generation_error", "buzzy");
  if (onChunk) next("text_chunk").then(onChunk);
  socket.emit("generate_text", data);
  await end;
  return seen.slice(from);
}

async function main() {
  await new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
  });
  const engine = socket.io.engine;
  if (transports.length > 1 && engine.transport.name !== transports[1]) {
    await new Promise((resolve) => engine.once("upgrade", resolve));
  }
  const result = { transport: engine.transport.name };
  result.binding = await ask("select_binding", { binding_name: "echo" }, "select_binding");
  result.model = await ask("select_model", { model_name: "lorem" }, "select_model");
  result.models = await ask("list_available_models", {}, "available_models_list");
  result.personalities = await ask("list_available_personalities", {}, "personalities_list");
  const prompt = "Il était une fois 🦉";
  result.generation = await generate({
    prompt, personality: -1, n_predicts: 200, parameters: { seed: 7 },
  });
  await ask("select_model", { model_name: "echo" }, "select_model");
  result.echo = await generate({ prompt, personality: -1, n_predicts: 200 });
  await ask("select_model", { model_name: "lorem-10ms" }, "select_model");
  result.cancelled = await generate(
    { prompt, personality: -1, n_predicts: 5000 },
    () => socket.emit("cancel_generation"),
  );
  const acknowledged = await socket.emitWithAck("list_active_personalities", {});
  result.acknowledged = acknowledged.success;
  console.log(JSON.stringify(result));
  socket.disconnect();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
