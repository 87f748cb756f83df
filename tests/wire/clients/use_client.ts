// A typed client of the API. The tests compile it with the generated types and run it against a server.
import createClient from "openapi-fetch";
import type { paths } from "./api.ts";

declare const process: { argv: string[] };

const [baseUrl, key] = process.argv.slice(2) as [string, string];
const api = createClient<paths>({ baseUrl });

const info = await api.GET("/get_player_info", { params: { query: { id: 8, scope: "all" } } });
const stars = await api.GET("/calculate_pp", {
  params: { query: { id: 900003, acc: [99.5, 98] } },
  headers: { Authorization: `Bearer ${key}` },
});
const scores = await api.GET("/v2/players/{id}/scores/{scope}", {
  params: { path: { id: "8", scope: "best" }, query: { page_size: 2 } },
});
const changed = await api.POST("/set_player_info", {
  body: { play_style: 6 },
  headers: { Authorization: `Bearer ${key}` },
});
const failed = await api.GET("/get_player_scores", {
  params: { query: { scope: "best", id: 8, include_loved: true, limit: 500 } },
});

// Each of these is a type error if the document says something else.
const name: string | undefined = info.data?.player.info?.name;
const pp: number[] = Array.isArray(stars.data) ? stars.data.map((one) => one.performance.pp) : [];
const total: number | undefined = scores.data?.meta.total;
const style: number | undefined = changed.data?.player.info.play_style;
const sentence: string | undefined = failed.error?.status;

console.log(JSON.stringify({ name, pp: pp.length, total, style, sentence, code: failed.response.status }));
