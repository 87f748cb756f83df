// Leads a match with bancho.js, a library of tournament tools. Arguments: port, name, password.
const { BanchoClient } = require("bancho.js");

const [, , port, username, password] = process.argv;
const WITHIN_MS = 60000;

async function step(name, promise) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`no answer: ${name}`)), WITHIN_MS);
  });
  const result = await Promise.race([promise, late]);
  clearTimeout(timer);
  return result;
}

async function main() {
  const client = new BanchoClient({ username, password, host: "127.0.0.1", port: Number(port), apiKey: "none" });
  await step("connect", client.connect());
  const self = client.getSelf();
  console.log("where", await step("where", self.where()));
  console.log("stats", (await step("stats", self.stats())) !== undefined);
  console.log("whois", (await step("whois", self.whois())).userId);
  const back = new Promise((done) => self.on("message", (line) => line.message === "to myself" && done()));
  self.sendMessage("to myself");
  await step("to oneself", back);
  const channel = client.getChannel("#osu");
  await step("join", channel.join());
  await step("part", channel.leave());

  const { lobby } = await step("create", client.createLobby("A room", true));
  await step("settings", lobby.updateSettings());
  console.log("room", lobby.name, lobby.size);
  await step("mods", lobby.setMods("HD HR", false));
  console.log("mods", lobby.mods.map((mod) => mod.shortMod).join(" "), lobby.freemod);
  await step("free mods", lobby.setMods("DT", true));
  console.log("mods", lobby.mods.map((mod) => mod.shortMod).join(" "), lobby.freemod);
  await step("password", lobby.setPassword("secret"));
  await step("size", lobby.setSize(8));
  await step("set", lobby.setSettings(2, 1, 16));
  console.log("set", lobby.teamMode, lobby.winCondition, lobby.size);
  await step("lock", lobby.lockSlots());
  await step("unlock", lobby.unlockSlots());
  await step("clear host", lobby.clearHost());
  await step("start", lobby.startMatch());
  await step("abort", lobby.abortMatch());
  await step("close", lobby.closeLobby());
  console.log("closed");
  client.disconnect();
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
