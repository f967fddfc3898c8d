//! The report as one HTML file: no script, nothing from the network, light and dark, for a screen and for a phone.
//!
//! All text goes through the template's escaping, and a policy in the page forbids what must not happen anyway:
//! scripts and requests. The names in a report are those of the requests of a load test, and may be anyone's.

mod charts;
mod gpu;
mod locks;
mod page;
mod plot;
mod resources;
mod stages;

use super::Renderer;
use super::model::Report;

/// The report for a browser.
#[derive(Clone, Copy, Debug)]
pub struct Html;

impl Renderer for Html {
    fn render(&self, report: &Report) -> String {
        page::page(report).into_string() + "\n"
    }
}

/// Text in which nothing is invisible or turns the direction of what follows.
fn visible(text: &str) -> String {
    let is_plain = |c: char| !c.is_control() && (c.is_ascii() || c.is_alphanumeric() || c == '…');
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) {
            out.push(c);
        } else {
            out.extend(c.escape_default());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn names_are_text_and_nothing_else() {
        let mut report = report();
        let nasty = "GET /<script>alert(1)</script>\"'&\u{202e}\u{1b}[2J";
        report.run.target.cmdline = nasty.to_owned();
        report.endpoints[0].endpoint = nasty.to_owned();
        report.objectives[0].subject = nasty.to_owned();
        report.objectives[0].reason = Some(nasty.to_owned());
        report.accept.listeners[0].addr = Some(nasty.to_owned());
        report.syscalls[0].op = nasty.to_owned();
        report.warnings.push(nasty.to_owned());
        for series in &mut report.series {
            series.endpoint = nasty.to_owned();
        }
        let page = Html.render(&report);
        assert!(!page.contains("<script") && !page.contains('\u{202e}') && !page.contains('\u{1b}'));
        assert!(page.contains("&lt;script&gt;alert(1)"));
    }

    #[test]
    fn the_page_asks_for_nothing() {
        let page = Html.render(&report());
        assert!(page.starts_with("<!DOCTYPE html>"));
        assert!(page.contains("default-src 'none'"));
        let links = page.replace("http://www.w3.org/2000/svg", "");
        for word in ["http:", "https:", "src=", "href=\"/", "@import", "url("] {
            assert!(!links.contains(word), "{word}");
        }
    }
}
