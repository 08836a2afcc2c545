"""The report's one stylesheet. A content security policy allows no other: nothing can be inline."""

CSS = """\
:root {
  color-scheme: light dark;
  --ink: #1f2933; --soft: #5b6773; --line: #d9e0e6; --ground: #ffffff; --panel: #f5f7f9; --link: #1f5c99;
  --good: #1a6b3a; --good-ground: #eaf6ee; --bad: #a3271d; --bad-ground: #fcefee; --plain-ground: #f0f3f6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e3e8ed; --soft: #a3afba; --line: #36414b; --ground: #14191e; --panel: #1c232a; --link: #7db8f0;
    --good: #6fd197; --good-ground: #16301f; --bad: #ff9a8f; --bad-ground: #3a1a17; --plain-ground: #222b33;
  }
  figure img { filter: invert(0.92) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; padding: 0 20px 48px; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif;
  overflow-wrap: break-word;
}
header, main, footer { max-width: 1080px; margin: 0 auto; }
header { padding: 28px 0 4px; }
h1 { font-size: 1.55rem; line-height: 1.25; margin: 0 0 6px; }
h2 { font-size: 1.15rem; margin: 36px 0 10px; padding-bottom: 5px; border-bottom: 1px solid var(--line); }
h3 { font-size: 0.98rem; margin: 20px 0 6px; }
p { margin: 0 0 10px; max-width: 75ch; }
a { color: var(--link); }
.soft, figcaption, footer { color: var(--soft); font-size: 0.88rem; }
nav a { margin-right: 14px; white-space: nowrap; }
code, pre, .mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 0.86rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 4px 0 8px; padding: 8px 10px; background: var(--panel); border-radius: 6px; }
.box { border-left: 4px solid var(--soft); background: var(--plain-ground); border-radius: 4px; padding: 12px 16px; margin: 0 0 14px; }
.box p { font-weight: 600; margin: 0; overflow-wrap: anywhere; }
.box ul { margin: 8px 0 0; padding-left: 20px; overflow-wrap: anywhere; }
.good { border-color: var(--good); background: var(--good-ground); }
.bad { border-color: var(--bad); background: var(--bad-ground); }
.box.good p, .passed { color: var(--good); }
.box.bad p, .failed, .error { color: var(--bad); }
.passed, .failed, .error, .skipped { font-weight: 600; white-space: nowrap; }
.skipped { color: var(--soft); }
dl.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 14px 0; }
dl.tiles div { background: var(--panel); border-radius: 8px; padding: 10px 14px; }
dl.tiles dt { color: var(--soft); font-size: 0.82rem; }
dl.tiles dd { margin: 0; font-size: 1.2rem; font-weight: 600; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 0 0 12px; }
table { border-collapse: collapse; font-size: 0.9rem; }
caption { text-align: left; color: var(--soft); font-size: 0.88rem; padding: 0 0 4px; }
th, td { text-align: left; vertical-align: top; padding: 5px 18px 5px 0; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; }
tbody th { font-weight: 400; }
td { overflow-wrap: anywhere; min-width: 4.5em; }
.numbers td, .numbers thead th + th { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.wide { min-width: 20em; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 18px; align-items: start; margin: 14px 0; }
.figures > figure:last-child:nth-child(odd) { grid-column: 1 / -1; justify-self: center; }
figure { margin: 0; }
figure img { display: block; max-width: 100%; height: auto; border: 1px solid #d9e0e6; border-radius: 8px; }
figcaption { margin-top: 4px; }
details { margin: 0 0 12px; }
summary { cursor: pointer; color: var(--link); padding: 4px 0; }
ul.files { padding-left: 20px; margin: 0 0 16px; columns: 20em; }
section[aria-labelledby="times"] td:first-of-type { white-space: nowrap; }
footer { margin-top: 40px; border-top: 1px solid var(--line); padding-top: 10px; }
@media (max-width: 600px) {
  body { padding: 0 14px 32px; font-size: 16px; }
  th, td { padding-right: 12px; }
}
@media print {
  body { padding: 0; }
  figure, .box, tr { break-inside: avoid; }
}
"""
