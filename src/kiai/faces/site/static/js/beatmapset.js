// Addresses of the game's site have the difficulty in a fragment, which servers do not see: /beatmapsets/1#osu/75.
const found = /^#(osu|taiko|fruits|mania)\/([0-9]{1,10})$/.exec(location.hash);
if (found) {
  const item = document.querySelector(`.picker [data-map-id="${found[2]}"]`);
  const link = item?.querySelector("a");
  const mode = ["osu", "taiko", "fruits", "mania"].indexOf(found[1] ?? "");
  if (link instanceof HTMLAnchorElement) {
    const target = new URL(link.href);
    if (item instanceof HTMLElement && item.dataset.mode !== found[1]) target.searchParams.set("mode", String(mode));
    if (target.search !== location.search) location.replace(target.href);
  }
}
export {};
