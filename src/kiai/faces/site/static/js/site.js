// The script of every page. Pages are whole without it.
import { followCharts } from "./chart.js";
import { offerCopies } from "./copy.js";
import { nameFlags } from "./flags.js";
import { loadParts } from "./load.js";
import { offerMenus } from "./menu.js";
import { suggest } from "./suggest.js";
import { applyPreferences } from "./theme.js";
import { keepTimes } from "./times.js";

offerMenus();
applyPreferences();
keepTimes();
offerCopies();
loadParts();
nameFlags();
suggest();
followCharts();
