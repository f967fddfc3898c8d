//! The way of a document: its stages one behind the other, as long as they took on average.

use maud::{Markup, html};

use super::charts::key;
use super::visible;
use crate::report::model::{Report, Stage};
use crate::report::text::format::{maybe_seconds, seconds};

/// The parts of a stage with their colours: what came before it, then where its own time went.
const PARTS: [(&str, &str); 5] =
    [("wait before it", "c3"), ("files", "c1"), ("SQLite locks", "c0"), ("GPU", "c2"), ("other", "c5")];

/// One waterfall for each phase.
pub(super) fn waterfalls(report: &Report) -> Option<Markup> {
    let phases: Vec<&[Stage]> =
        report.stages.chunk_by(|a, b| a.phase == b.phase).filter(|stages| way(stages) > 0.0).collect();
    (!phases.is_empty()).then(|| {
        html! {
            section id="stages" {
                h2 { "The way of a document" }
                p.note { "The mean of each stage, stage after stage; the bars of a phase have one scale." }
                p.legend { @for (name, colour) in PARTS { (key(colour, name)) " " } }
                @for stages in &phases {
                    @if phases.len() > 1 { h3 { (visible(&stages[0].phase)) } }
                    (waterfall(stages))
                }
            }
        }
    })
}

/// Seconds that all stages take together.
fn way(stages: &[Stage]) -> f64 {
    stages.iter().flat_map(parts).sum()
}

/// Seconds of each of [`PARTS`].
fn parts(stage: &Stage) -> [f64; 5] {
    let mean = stage.time_s.mean.unwrap_or(0.0);
    let shares = &stage.shares;
    let [files, locks, gpu] =
        [shares.file_io, shares.sqlite_wait, shares.gpu_busy].map(|share| share.unwrap_or(0.0) * mean);
    // A GPU works while files are read as well: the parts never make more than the whole.
    let other = (mean - files - locks - gpu).max(0.0);
    [stage.transition_s.mean.unwrap_or(0.0), files, locks, gpu, other]
}

fn waterfall(stages: &[Stage]) -> Markup {
    let whole = way(stages);
    let width = |part: f64| format!("width:{:.3}%", (part / whole * 100.0).clamp(0.0, 100.0));
    let mut begins = 0.0;
    html! {
        ul.bars {
            @for stage in stages.iter().filter(|stage| stage.time_s.count > 0) {
                @let parts = parts(stage);
                li {
                    span.name { @if let Some(index) = stage.index { (index) " " } (visible(&stage.stage)) }
                    span.value { (maybe_seconds(stage.time_s.mean)) }
                    div.bar {
                        span style=(width(begins)) {}
                        @for ((name, colour), part) in PARTS.iter().zip(parts) {
                            span style={ "background:var(--" (colour) ");" (width(part)) } title={ (name) " " (seconds(part)) } {}
                        }
                    }
                }
                ({ begins += parts.iter().sum::<f64>(); "" })
            }
        }
    }
}
