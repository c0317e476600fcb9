// Starts the parts of the page.

import { startCompare } from "./compare.js";
import { startConnect } from "./connect.js";
import { at } from "./elements.js";
import { choose, onLanguage, translate } from "./language.js";
import { startLoad } from "./load.js";
import { loadModels, startModels } from "./models.js";
import { startRerank } from "./rerank.js";

for (const each of document.querySelectorAll("#languages button")) each.addEventListener("click", () => choose(each.value));
onLanguage(translate);
startConnect();
startCompare(loadModels);
startRerank();
startModels();
at("page").hidden = false;
startLoad();
