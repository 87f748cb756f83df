// Run each program of codes.json as a browser does, and print its console output as JSON.
import { readFileSync } from "node:fs";

const AsyncFunction = (async () => {}).constructor;
const picture = new File([readFileSync("avatar.png")], "avatar.png", { type: "image/png" });
const page = { querySelector: () => ({ files: [picture] }) };

// A stream does not end, so only the validity of the program and of the address is tested.
class EventSource {
  constructor(address) {
    new URL(address);
  }

  addEventListener(type, listener) {
    listener({ data: JSON.stringify({ type }) });
  }
}

const logged = {};
for (const [name, code] of Object.entries(JSON.parse(readFileSync("codes.json", "utf8")))) {
  logged[name] = [];
  const log = { log: (value) => logged[name].push(value) };
  try {
    await new AsyncFunction("document", "EventSource", "console", code)(page, EventSource, log);
  } catch (error) {
    throw new Error(`${name}: ${error.message}\n${code}`, { cause: error });
  }
}
process.stdout.write(JSON.stringify(logged));
