/* What all parts of the page share. Everything a dataset says is a stranger's: it becomes text, never markup. */

export const $ = (id) => document.getElementById(id);

/* Make an element with a text, which is never read as markup. */
export function make(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

export function say(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

export async function ask(path) {
  const answer = await fetch(path);
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told;
}

export const count = (number) => number.toLocaleString("en");

/* The records found, a page of them at a time; at: the place on the page of the one shown, −1 if it is not there. */
export const list = { query: {}, offset: 0, total: 0, records: [], at: -1 };
