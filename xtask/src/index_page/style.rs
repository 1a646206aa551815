//! The page's looks, its filters and its script.

use std::fmt::Write as _;

use super::entries::Row;

/// Names and values of colours on light and dark ground.
pub(super) const COLOURS: [(&str, &str, &str); 9] = [
    ("ground", "#ffffff", "#0d1117"),
    ("ink", "#1f2328", "#e6edf3"),
    ("soft", "#57606a", "#9aa4af"),
    ("line", "#d0d7de", "#30363d"),
    ("panel", "#f6f8fa", "#161b22"),
    ("good", "#116329", "#7ee787"),
    ("bad", "#a40e26", "#ffa198"),
    ("note", "#7d4e00", "#f2cc60"),
    ("link", "#0550ae", "#79c0ff"),
];

const RULES: &str = "\
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; } h4 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
a { color: var(--link); } .soft { color: var(--soft); }
fieldset { border: 1px solid var(--line); border-radius: .4rem; margin: .4rem 0; padding: .3rem .7rem; }
fieldset label { display: inline-block; padding: .15rem .7rem .15rem 0; }
ul.papers { list-style: none; padding: 0; }
.paper { border: 1px solid var(--line); border-radius: .4rem; margin: .5rem 0; padding: .5rem .8rem; }
summary { cursor: pointer; } summary h3 { display: inline; font-size: 1.1rem; margin: 0; } .line { display: block; margin: .2rem 0; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .92rem; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); font-weight: 400; }
thead th { background: var(--panel); font-weight: 600; }
.outcome { font-weight: 600; white-space: nowrap; } .reproduced .outcome { color: var(--good); } .not-reproduced .outcome { color: var(--bad); }
.synthetic { color: var(--note); } .small { display: block; font-size: .85rem; color: var(--soft); }
pre { background: var(--panel); padding: .6rem; border-radius: .4rem; overflow-x: auto; }
figure { display: inline-block; margin: .4rem; width: min(100%, 26rem); vertical-align: top; } figure img { width: 100%; height: auto; }
@media (max-width: 48rem) {
  thead { position: absolute; left: -99rem; } table, tbody, tr, th, td { display: block; }
  tr { border-bottom: 1px solid var(--line); padding: .4rem 0; } th, td { border: 0; padding: .1rem 0; }
  td::before { content: attr(data-column) \": \"; color: var(--soft); }
}
@media print { fieldset, .order { display: none; } }
";

/// Puts the papers in another order. Without it they stand in the order of the session.
pub(super) const SCRIPT: &str = "\
const list = document.querySelector('.papers'), order = document.querySelector('#order');
document.querySelector('.order').hidden = false;
order.addEventListener('change', () => {
  const value = item => item.dataset[order.value] ?? '';
  const compare = (a, b) => value(a).localeCompare(value(b), 'en', { numeric: true });
  [...list.children].sort(compare).forEach(item => list.append(item));
});
";

/// What the choice of outcome is called, and the class that it asks for.
pub(super) const SHOWN: [(&str, &str); 5] = [
    ("all", "all claims"),
    ("reproduced", "reproduced"),
    ("not-reproduced", "not reproduced"),
    ("reported", "reported"),
    ("not-tested", "not tested"),
];

/// What the choice of scale is called.
pub(super) const SCALES: [&str; 4] = ["all", "smoke", "laptop", "paper"];

/// Colours, rules and filters.
pub(super) fn style(rows: &[Row]) -> String {
    let declared = |dark: bool| -> String {
        let one =
            |(name, light, night): &(&str, &str, &str)| format!("--{name}: {}; ", if dark { night } else { light });
        COLOURS.iter().map(one).collect()
    };
    let mut style = format!(
        ":root {{ color-scheme: light dark; {}}}\n@media (prefers-color-scheme: dark) {{ :root {{ {}}} }}\n{RULES}",
        declared(false),
        declared(true)
    );
    for (shown, _) in &SHOWN[1..] {
        let _ = writeln!(style, ":root:has(#show-{shown}:checked) .claim:not(.{shown}) {{ display: none; }}");
        for scale in SCALES {
            let _ = writeln!(
                style,
                ":root:has(#show-{shown}:checked):has(#scale-{scale}:checked) .paper:not(.{scale}-{shown}) {{ display: none; }}"
            );
        }
    }
    for scale in &SCALES[1..] {
        let _ = writeln!(style, ":root:has(#scale-{scale}:checked) .scale:not(.{scale}) {{ display: none; }}");
        let _ = writeln!(style, ":root:has(#scale-{scale}:checked) .paper:not(.has-{scale}) {{ display: none; }}");
    }
    for name in crates(rows) {
        let _ = writeln!(style, ":root:has(#crate-{name}:checked) .paper:not(.crate-{name}) {{ display: none; }}");
    }
    style
}

/// The crates of the papers, by the alphabet.
pub(super) fn crates(rows: &[Row]) -> Vec<&'static str> {
    let mut names: Vec<_> = rows.iter().map(|row| row.paper.package).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance as WCAG 2 defines it.
    fn luminance(colour: &str) -> f64 {
        let channel = |at: usize| {
            let share = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    #[test]
    fn every_text_has_the_contrast_of_aa() {
        for dark in [false, true] {
            let of = |wanted: &str| {
                let (_, light, night) = COLOURS.iter().find(|(name, ..)| *name == wanted).unwrap();
                luminance(if dark { night } else { light })
            };
            for text in ["ink", "soft", "good", "bad", "note", "link"] {
                for ground in ["ground", "panel"] {
                    let (a, b) = (of(text), of(ground));
                    let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                    assert!(contrast >= 4.5, "{text} on {ground}, dark {dark}: {contrast:.2}");
                }
            }
        }
    }
}
