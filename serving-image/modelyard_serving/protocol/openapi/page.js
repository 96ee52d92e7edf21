"use strict";
// Sends what the fields of an operation say, and shows what the server answers.
async function send(trial) {
  const answer = trial.querySelector(".answer");
  const body = trial.querySelector(".body");
  const query = trial.querySelector(".query");
  // The page may be behind a proxy that adds a path: the server's own begins where the page is.
  const url = new URL(trial.dataset.path.slice(1), document.baseURI);
  if (query && query.selectedIndex > 0) url.searchParams.set(query.name, query.value);
  const options = { method: trial.dataset.method };
  if (body) {
    options.headers = { "Content-Type": trial.querySelector(".kind").value };
    options.body = body.value;
  }
  answer.hidden = false;
  answer.textContent = "…";
  try {
    const response = await fetch(url, options);
    answer.textContent = response.status + " " + response.statusText + "\n\n" + (await response.text());
  } catch (error) {
    answer.textContent = String(error);
  }
}
for (const trial of document.querySelectorAll(".trial")) {
  trial.querySelector("button").addEventListener("click", () => send(trial));
}
// A link to a schema opens it.
function reveal() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target) target.open = true;
}
addEventListener("hashchange", reveal);
reveal();
