//! The page.

use std::fmt::Write as _;
use std::path::Path;

use report::{ClaimResult, Outcome, Scale};
use sha2::{Digest, Sha256};

use super::entries::{Entry, Row, counts, summary};
use crate::words::{html as escape, time};

use super::style::{SCALES, SCRIPT, SHOWN, crates, style};

/// The most bytes of a figure that is put into the page.
const LARGEST_FIGURE: u64 = 1 << 20;

// Writing into a String cannot fail, so the results of `writeln!` carry nothing below.

pub(super) fn page(rows: &[Row]) -> String {
    let hash = base64(&Sha256::digest(SCRIPT));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Reproductions</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <style>\n{}</style>\n</head>\n<body>\n<main>\n<h1>Reproductions</h1>\n<p>{}</p>\n",
        style(rows),
        escape(&summary(rows))
    );
    page += &refuted(rows);
    page += &filters(rows);
    page += "<h2>Papers</h2>\n<ul class=\"papers\">\n";
    for (number, row) in rows.iter().enumerate() {
        page += &paper(number, row);
    }
    let _ = write!(page, "</ul>\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n");
    page
}

/// What was not reproduced, each claim at the longest scale that tested it.
fn refuted(rows: &[Row]) -> String {
    let mut items = String::new();
    for Row { paper, entries } in rows {
        let all = || entries.iter().flat_map(|entry| entry.report.claims.iter().map(move |claim| (entry.scale, claim)));
        let is_judged = |claim: &ClaimResult| matches!(claim.outcome(), Outcome::Reproduced | Outcome::NotReproduced);
        let is_last = |scale: Scale, id: &str| {
            all().find(|(_, other)| other.id == id && is_judged(other)).is_some_and(|(longest, _)| longest == scale)
        };
        let is_refuted =
            |scale: Scale, claim: &ClaimResult| claim.outcome() == Outcome::NotReproduced && is_last(scale, &claim.id);
        for (scale, claim) in all().filter(|(scale, claim)| is_refuted(*scale, claim)) {
            let note = claim
                .note
                .as_deref()
                .map_or_else(String::new, |note| format!(" <span class=\"small\">{}</span>", escape(note)));
            let _ = writeln!(
                items,
                "<li><a href=\"#{slug}\">{slug}</a>, {scale}: {statement}: found {measured}, asked {judged}.{note}</li>",
                slug = paper.slug,
                scale = scale.name(),
                statement = escape(&claim.statement),
                measured = escape(&claim.measured_words()),
                judged = escape(&claim.judged),
            );
        }
    }
    if items.is_empty() { String::new() } else { format!("<h2>Not reproduced</h2>\n<ul>\n{items}</ul>\n") }
}

fn filters(rows: &[Row]) -> String {
    let radios = |legend: &str, group: &str, choices: &[(&str, &str)]| {
        let one = |(at, (name, words)): (usize, &(&str, &str))| {
            let checked = if at == 0 { " checked" } else { "" };
            format!("<label><input type=\"radio\" name=\"{group}\" id=\"{group}-{name}\"{checked}> {words}</label>\n")
        };
        let inputs: String = choices.iter().enumerate().map(one).collect();
        format!("<fieldset><legend>{legend}</legend>\n{inputs}</fieldset>\n")
    };
    let scales: Vec<(&str, &str)> = SCALES.iter().map(|name| (*name, *name)).collect();
    let names: Vec<(&str, &str)> =
        std::iter::once(("all", "all")).chain(crates(rows).into_iter().map(|name| (name, name))).collect();
    let order = "<p class=\"order\" hidden><label>Order of papers <select id=\"order\">\
                 <option value=\"number\">session</option><option value=\"slug\">name</option><option value=\"crate\">crate</option>\
                 <option value=\"refuted\">most not reproduced first</option></select></label></p>\n";
    radios("Claims", "show", &SHOWN) + &radios("Scale", "scale", &scales) + &radios("Crate", "crate", &names) + order
}

fn paper(number: usize, Row { paper, entries }: &Row) -> String {
    let slug = paper.slug;
    let mut classes = format!("paper crate-{}", paper.package);
    for Entry { scale, report, .. } in entries {
        let _ = write!(classes, " has-{}", scale.name());
        for outcome in Outcome::ALL.into_iter().filter(|outcome| report.count(*outcome) > 0) {
            let _ = write!(classes, " {0}-{1} all-{1}", scale.name(), outcome.name());
        }
    }
    let refuted = entries.first().map_or(0, |entry| entry.report.count(Outcome::NotReproduced));
    let tallies: String = entries
        .iter()
        .map(|Entry { scale, report, folder }| {
            let origin = if folder.is_some() { "run here" } else { "committed" };
            let synthetic = match report.tally().words().split_once(", ") {
                Some((_, words)) => format!(", <span class=\"synthetic\">{}</span>", escape(words)),
                None => String::new(),
            };
            let state = if report.complete { "" } else { ", incomplete: trials are missing" };
            format!(
                "<span class=\"line soft\">{}: {}{synthetic}; {} ({origin}{state})</span>\n",
                scale.name(),
                escape(&counts(report)),
                time(report.seconds)
            )
        })
        .collect();
    let tallies =
        if tallies.is_empty() { "<span class=\"line soft\">no results yet</span>\n".to_owned() } else { tallies };
    let sections: String = entries.iter().map(|entry| section(slug, entry)).collect();
    format!(
        "<li class=\"{classes}\" id=\"{slug}\" data-number=\"{number}\" data-slug=\"{slug}\" data-crate=\"{package}\" data-refuted=\"{order}\">\n\
         <details><summary><h3>{title}</h3>\n<span class=\"line soft\">{slug}, crate {package}</span>\n{tallies}</summary>\n\
         <p>{authors}: {title}. ICML 2022. <a href=\"{url}\">{url}</a></p>\n{sections}</details></li>\n",
        package = paper.package,
        title = escape(paper.title),
        authors = escape(paper.authors),
        url = escape(paper.url),
        order = 1000 - refuted.min(1000),
    )
}

fn section(slug: &str, Entry { scale, report, folder }: &Entry) -> String {
    let rows: String = report.claims.iter().map(claim).collect();
    let scale = scale.name();
    let link = match folder {
        Some(_) => format!("<p><a href=\"{slug}/{scale}/report.html\">The whole report</a></p>\n"),
        None => String::new(),
    };
    let figures = folder.as_deref().map_or_else(String::new, figures);
    format!(
        "<section class=\"scale {scale}\"><h4>{scale} scale</h4>\n<pre tabindex=\"0\">cargo xtask reproduce {slug} --scale {scale}</pre>\n{link}<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Claims of {slug}, {scale}\">\
         <table role=\"table\"><thead><tr><th scope=\"col\">claim</th><th scope=\"col\">published</th><th scope=\"col\">measured</th><th scope=\"col\">data</th>\
         <th scope=\"col\">judged</th><th scope=\"col\">outcome</th></tr></thead>\n<tbody role=\"rowgroup\">\n{rows}</tbody></table></div>\n{figures}</section>\n"
    )
}

fn claim(claim: &ClaimResult) -> String {
    let outcome = claim.outcome();
    let small = |text: Option<&str>| {
        text.map_or_else(String::new, |text| format!("<span class=\"small\">{}</span>", escape(text)))
    };
    let synthetic = if claim.is_synthetic { " <span class=\"synthetic\">(synthetic)</span>" } else { "" };
    format!(
        "<tr role=\"row\" class=\"claim {class}\"><th scope=\"row\" role=\"rowheader\">{statement}</th><td role=\"cell\" data-column=\"published\">{published}{source}</td>\
         <td role=\"cell\" data-column=\"measured\">{measured}</td><td role=\"cell\" data-column=\"data\">{data}{synthetic}</td><td role=\"cell\" data-column=\"judged\">{judged}</td>\
         <td role=\"cell\" data-column=\"outcome\"><span class=\"outcome\">{words}</span>{note}</td></tr>\n",
        class = outcome.name(),
        statement = escape(&claim.statement),
        published = escape(&claim.published_words()),
        source = small(claim.published_source.as_deref()),
        measured = escape(&claim.measured_words()),
        data = escape(&claim.data),
        judged = escape(&claim.judged),
        words = outcome.words(),
        note = small(claim.note.as_deref()),
    )
}

/// The run's figures, as images within the page: nothing in them can act on it. What cannot be read is left out.
fn figures(folder: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(folder.join("plots")) else { return String::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "svg"));
    paths.sort();
    let mut figures = String::new();
    for path in paths {
        let is_fit = std::fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= LARGEST_FIGURE);
        if let (true, Ok(bytes)) = (is_fit, std::fs::read(&path)) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().replace('-', " ");
            let _ = writeln!(
                figures,
                "<figure><img alt=\"Figure: {}\" src=\"data:image/svg+xml;base64,{}\"></figure>",
                escape(&name),
                base64(&bytes)
            );
        }
    }
    figures
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let sign = SIGNS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { char::from(sign) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_4648() {
        let pairs =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (text, expected) in pairs {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}
