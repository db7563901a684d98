"""The page's looks and its few lines of behaviour."""

from __future__ import annotations

from typing import Final

__all__ = ["SCRIPT", "STYLE"]

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c1d21; --paper: #ffffff; --soft: #5b606b;
  --line: #dfe2e8; --card: #f6f7f9; --theory: #b3261e; --measured: #1f5fbf; --band: #1f5fbf33;
  --kernel: #6f7480; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e9ed; --paper: #15171b; --soft: #a2a8b4;
  --line: #343841; --card: #1e2127; --theory: #ff8a80; --measured: #8ab4f8; --band: #8ab4f840;
  --kernel: #9aa0ac; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.25rem clamp(.9rem, 3vw, 2rem) 3rem;
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; color: var(--ink);
  background: var(--paper); overflow-wrap: break-word; }
h1 { font-size: clamp(1.5rem, 4vw, 2.1rem); line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; padding-top: .6rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0 0 .4rem; }
p { max-width: 46rem; margin: .4rem 0; }
.soft, figcaption, caption { color: var(--soft); font-size: .875rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.5rem, 1fr)); gap: .6rem;
  margin: 1rem 0; }
dl div { background: var(--card); border-radius: .5rem; padding: .5rem .7rem; min-width: 0; }
dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; font-weight: 600; }
.row { display: grid; grid-template-columns: 7rem 1fr; gap: .6rem; align-items: center;
  margin: .5rem 0; }
.row strong { font-variant-numeric: tabular-nums; }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: .5rem; }
.tile { padding: 0; border: 0; background: none; cursor: zoom-in; display: block; width: 100%; }
.tile:focus-visible { outline: 3px solid var(--measured); outline-offset: 2px; }
.tile img { display: block; width: 100%; height: auto; border-radius: .25rem; }
dialog { border: 0; padding: 0; background: var(--paper); color: var(--ink); max-width: 96vw;
  max-height: 96vh; border-radius: .5rem; cursor: zoom-out; }
dialog::backdrop { background: #000c; }
dialog img { display: block; width: min(92vw, 84vh); height: auto; }
dialog p { margin: .4rem .8rem .6rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { text-align: right; padding: .25rem .7rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.hash { font-family: ui-monospace, monospace; font-size: .8rem; text-align: left;
  overflow-wrap: anywhere; }
.tables { display: flex; flex-wrap: wrap; gap: 1rem 3rem; align-items: start; }
.charts { display: grid; grid-template-columns: repeat(4, 1fr); gap: .8rem;
  background: var(--card); border-radius: .5rem; padding: .8rem; margin: .8rem 0; }
.charts h3 { grid-column: 1 / -1; } figure { margin: 0; min-width: 0; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font-size: 14px; } .grid { stroke: var(--line); }
.band { fill: var(--band); } circle { fill: var(--measured); }
polyline { fill: none; stroke-width: 1.6; } .theory { stroke: var(--theory); }
.kernel { stroke: var(--kernel); stroke-dasharray: 5 4; }
.key span { white-space: nowrap; margin-right: 1.2rem; }
.key i { display: inline-block; width: 1.6rem; height: 0; vertical-align: middle;
  margin-right: .35rem; border-top: 2px solid; }
.key .m { border-color: var(--measured); border-top-width: 6px; opacity: .6; }
.key .t { border-color: var(--theory); } .key .k { border-top-style: dashed;
  border-color: var(--kernel); }
pre { background: var(--card); border-radius: .5rem; padding: .7rem .9rem;
  white-space: pre-wrap; overflow-wrap: anywhere;
  font: .82rem/1.45 ui-monospace, monospace; margin: .5rem 0; }
summary { cursor: pointer; margin: .6rem 0; }
@media (max-width: 62rem) { .charts { grid-template-columns: repeat(2, 1fr); } }
@media (max-width: 40rem) { .charts { grid-template-columns: 1fr; }
  .row { grid-template-columns: 1fr; gap: .15rem; }
  .tiles { grid-template-columns: repeat(2, 1fr); } }
@media print { :root { --ink: #000; --paper: #fff; --soft: #444; --line: #bbb; --card: #fff;
    --theory: #b3261e; --measured: #1f5fbf; --band: #1f5fbf33; --kernel: #555; }
  body { max-width: none; padding: 0; font-size: 10.5pt; } dialog { display: none; }
  .row, figure, tr, dl div { break-inside: avoid; } h2, h3 { break-after: avoid; }
  dl div, .charts { border: 1px solid var(--line); }
  .charts { grid-template-columns: repeat(2, 1fr); break-inside: avoid; }
  svg { max-height: 4cm; }
  dl { grid-template-columns: repeat(4, 1fr); } .key i { print-color-adjust: exact; } }
"""

SCRIPT: Final = """
const box = document.querySelector('dialog');
for (const tile of document.querySelectorAll('.tile')) {
  tile.addEventListener('click', () => {
    const image = tile.querySelector('img');
    box.querySelector('img').src = image.src;
    box.querySelector('img').alt = image.alt;
    box.querySelector('p').textContent = image.alt;
    box.showModal();
  });
}
box.addEventListener('click', () => box.close());
addEventListener('beforeprint', () => {
  for (const part of document.querySelectorAll('details')) part.open = true;
});
"""
