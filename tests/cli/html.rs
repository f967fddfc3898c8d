//! The HTML report in a real browser, on a screen and on a phone: all of it is there, nothing sticks out, nothing is
//! asked of the network, nothing is complained about.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    Suite,
    bench::{end_of, probe},
};

/// Widths of a screen and of a phone, pixels.
const WIDTHS: [u32; 2] = [1280, 390];

/// Holds the page in a frame of that width and measures it once it is there. The page itself runs no scripts.
const BENCH: &str = r#"<!DOCTYPE html><title>not measured</title>
<iframe id="frame" src="report.html" style="border:0;height:900px;width:WIDTHpx"></iframe>
<script>
onload = () => {
  const page = frame.contentDocument, all = [...page.querySelectorAll("body *")];
  const box = (element) => element.getBoundingClientRect();
  const shown = (name) => [...page.querySelectorAll(name)].filter((element) => box(element).height > 20).length;
  const out = all.filter((element) => !element.closest(".scroll") && box(element).right > WIDTH + 1);
  document.title = JSON.stringify({
    width: page.documentElement.scrollWidth, out: out.map((element) => element.outerHTML.slice(0, 80)),
    requests: frame.contentWindow.performance.getEntriesByType("resource").length,
    sections: shown("section"), wide: shown(".plot.wide svg"), narrow: shown(".plot.narrow svg"),
    verdicts: shown(".verdicts li"), bars: page.querySelectorAll(".bar").length,
    small: [...page.querySelectorAll("svg text")].filter((text) => box(text).height > 0 && box(text).height < 9).length,
    scripts: page.scripts.length,
    ids: [...page.querySelectorAll("section[id]")].filter((section) => box(section).height > 60).map((section) => section.id),
    tints: [...page.querySelectorAll('svg rect[fill="var(--tint)"]')].filter((rect) => box(rect).width > 9).length,
    labels: [...new Set([...page.querySelectorAll("svg text")].filter((text) => box(text).height > 0).map((text) => text.textContent.trim()))],
  });
};
</script>"#;

pub(crate) fn add_to(suite: &mut Suite) {
    for case in ["recorded", "failing"] {
        suite.add(&format!("html::{case}"), move || in_a_browser(case, |_| (), |_| Ok(())));
    }
    suite.add("html::phases_and_resources", || in_a_browser("phases", |_| (), phases));
    suite.add("html::gpus", || in_a_browser("gpu_phases", |_| (), gpus));
    suite.add("html::waits_for_locks", || in_a_browser("locks", with_requests, locks));
    suite.add("html::names_of_an_attacker", || in_a_browser("recorded", hostile, |_| Ok(())));
}

/// The sections that must be there and fill their place.
fn has(page: &Value, sections: &[&str]) -> Result<()> {
    let ids = page["ids"].as_array().context("no sections")?;
    let missing: Vec<&&str> = sections.iter().filter(|id| !ids.contains(&(**id).into())).collect();
    ensure!(missing.is_empty(), "without {missing:?}: {ids:?}");
    Ok(())
}

/// Each plot over time shows the phases by name, and the one under a condition in a colour of its own.
fn phases(page: &Value) -> Result<()> {
    has(page, &["time", "waterfall", "percentiles", "stages", "resources", "endpoints"])?;
    let labels = page["labels"].to_string();
    // On a phone there is not room for all of a name.
    let is_wide = page["wide"].as_u64() > Some(0);
    for label in ["\"steady\"", "\"degraded: narrow\"", "\"spike\""].into_iter().filter(|_| is_wide) {
        ensure!(labels.contains(label), "`{label}`: {labels}");
    }
    for unit in [" %\"", " MiB\"", " ms\""] {
        ensure!(labels.contains(unit), "`{unit}`: {labels}");
    }
    // Latency and throughput of all, four plots of resources, and those of the endpoints.
    ensure!(page["tints"].as_u64() >= Some(8), "{}", page["tints"]);
    Ok(())
}

fn gpus(page: &Value) -> Result<()> {
    has(page, &["time", "gpus", "stages", "verdicts"])?;
    let labels = page["labels"].to_string();
    for label in ["100 %", "GiB", "400 W", "\"cold\"", "\"warm\""] {
        ensure!(labels.contains(label), "`{label}`: {labels}");
    }
    Ok(())
}

/// That recording holds no requests; those of another one stand in for them.
fn with_requests(report: &mut Value) {
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/phases/report.json");
    let other = fs::read_to_string(other).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
    for section in ["endpoints", "series", "overall"] {
        report[section] = other.as_ref().map_or(Value::Null, |other| other[section].clone());
    }
}

/// When threads waited, with the phases and the condition behind it.
fn locks(page: &Value) -> Result<()> {
    has(page, &["time", "locks"])?;
    let labels = page["labels"].to_string();
    for label in ["\"20.0 ms\"", "\"0.05\""] {
        ensure!(labels.contains(label), "`{label}`: {labels}");
    }
    ensure!(page["tints"].as_u64() >= Some(4), "{}", page["tints"]);
    Ok(())
}

/// A report as nobody would wish for: names that are markup, and longer than any screen is wide.
fn hostile(report: &mut Value) {
    let name =
        format!("GET /<script>document.title='x'</script><img src=http://127.0.0.1:9/>{}", "w".repeat(300));
    report["run"]["target"]["cmdline"] = name.clone().into();
    report["run"]["profile"]["name"] = "<h1>".repeat(30).into();
    for place in ["/endpoints/0/endpoint", "/series/1/endpoint", "/objectives/0/subject", "/syscalls/0/op"] {
        if let Some(text) = report.pointer_mut(place) {
            *text = name.clone().into();
        }
    }
    report["warnings"] = Value::Array(vec![name.into()]);
}

fn in_a_browser(case: &str, change: impl Fn(&mut Value), check: impl Fn(&Value) -> Result<()>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(case).join("report.json");
    let mut report: Value = serde_json::from_str(&fs::read_to_string(golden)?)?;
    change(&mut report);
    fs::write(folder.path().join("report.json"), serde_json::to_string(&report)?)?;
    let run = folder.path().to_str().context("a temporary folder that is not UTF-8")?;
    let answer = end_of(&mut probe(&["report", run, "--format", "html", "--inconclusive", "pass"])?)?;
    ensure!(!answer.stdout.is_empty(), "{answer:?}");
    fs::write(folder.path().join("report.html"), &answer.stdout)?;
    let n_verdicts = report["objectives"].as_array().map_or(0, Vec::len);
    // What stands far down is looked at in one case.
    let height = if case == "phases" { 6500 } else { 3000 };
    for width in WIDTHS {
        let page = measured(folder.path(), width, height)?;
        let is = |name: &str, wanted: usize| page[name].as_u64() == Some(wanted as u64);
        ensure!(page["width"].as_u64() <= Some(u64::from(width)), "{width}: wider than the screen: {page}");
        ensure!(page["out"].as_array().is_some_and(Vec::is_empty), "{width}: sticks out: {page}");
        ensure!(is("requests", 0) && is("scripts", 0), "{width}: {page}");
        ensure!(is("verdicts", n_verdicts) && is("small", 0), "{width}: {page}");
        ensure!(page["sections"].as_u64() >= Some(7) && page["bars"].as_u64() >= Some(2), "{width}: {page}");
        let (shown, hidden) = if width > 700 { ("wide", "narrow") } else { ("narrow", "wide") };
        ensure!(page[shown].as_u64() >= Some(3) && is(hidden, 0), "{width}: {page}");
        check(&page).with_context(|| format!("at {width} pixels"))?;
    }
    Ok(())
}

/// What the browser has to say about the page at this width; it must not complain.
fn measured(folder: &Path, width: u32, height: u32) -> Result<Value> {
    let bench = folder.join("bench.html");
    fs::write(&bench, BENCH.replace("WIDTH", &width.to_string()))?;
    let shot = folder.join(format!("{width}.png"));
    let run = |what: &str| {
        let mut browser = Command::new("chromium-headless-shell");
        // Tests may run as root, for whom there is no sandbox, and in containers with little shared memory.
        browser.args([
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--allow-file-access-from-files",
        ]);
        browser.args(["--enable-logging=stderr", "--hide-scrollbars", "--timeout=60000", what]);
        browser.arg(format!("--window-size={width},{height}"));
        browser.arg(format!("--user-data-dir={}", folder.join("browser").display()));
        browser
    };
    let answer = end_of(run("--dump-dom").arg(format!("file://{}", bench.display())))?;
    let complaints: Vec<&str> = answer.stderr.lines().filter(|line| line.contains("CONSOLE")).collect();
    ensure!(complaints.is_empty(), "{width}: the browser complains: {complaints:?}");
    let title = answer.stdout.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    let title = title.with_context(|| format!("no title: {answer:?}"))?.0;
    let title = title.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let page = serde_json::from_str(&title).with_context(|| format!("not measured: {title}"))?;

    let screenshot = format!("--screenshot={}", shot.display());
    let answer = end_of(run(&screenshot).arg(format!("file://{}", folder.join("report.html").display())))?;
    let picture = fs::read(&shot).with_context(|| format!("no screenshot: {answer:?}"))?;
    // The head of a PNG: its width stands at byte 16. A page of one colour would compress to a few KiB.
    let wide = picture.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    ensure!(wide == Some(width) && picture.len() > 40_000, "{wide:?}, {} bytes", picture.len());
    if let Some(keep) = std::env::var_os("PROBE_KEEP_SCREENSHOTS") {
        fs::copy(&shot, Path::new(&keep).join(format!("{}-{width}.png", std::process::id())))?;
    }
    Ok(page)
}
