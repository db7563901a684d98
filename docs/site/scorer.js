// How Sphinx's search orders what it finds. By itself it knows two degrees: a word of any heading counts
// 15, a word of the text 5. Here pages that say how to do something come first, those that say how gpgen
// came to be last, and each word of the question that the title holds counts 3.
const HOW_TO =
  /^(how-to\/(?!index).*|clusters|object-stores|growing|without-storage|python|other-formats|training|audit|publishing)$/;
const HISTORY = /^(changelog|contributing|decisions|dependencies|architecture)$/;
const asked = (new URLSearchParams(window.location.search).get("q") ?? "").toLowerCase();
const words = asked.split(/[^\p{Letter}\p{Number}]+/u).filter((word) => word.length > 2);

var Scorer = {
  score: ([page, title, , , score]) =>
    score +
    (HOW_TO.test(page) ? 10 : HISTORY.test(page) ? -10 : 0) +
    3 * words.filter((word) => title.toLowerCase().includes(word)).length,
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
