//! What is measured of stages, of checkpoint files, and of the pipeline as a whole.

use super::{Quantity, Shape, Unit};

const fn duration(name: &'static str, sample: &'static str) -> Quantity {
    Quantity { name, shape: Shape::Durations, sample, higher_is_better: false }
}

const fn share(name: &'static str) -> Quantity {
    Quantity { name, shape: Shape::Value(Unit::Ratio), sample: "stage", higher_is_better: false }
}

/// Of a stage.
pub(super) const STAGE: &[Quantity] = &[
    // From its beginning (the checkpoint before it, a marker, the document, the request) to its end.
    duration("time", "stage"),
    // From the end of the stage before to its first activity.
    duration("transition", "transition"),
    // Stages that ran again for the same document, among all that ran.
    Quantity { name: "repeated_rate", shape: Shape::Share, sample: "stage", higher_is_better: false },
    // Stages that ended, per second of the run.
    Quantity { name: "rate", shape: Shape::Rate, sample: "stage", higher_is_better: true },
    // Where its time went, as parts of it: in calls on files, waiting for SQLite's locks, with a busy GPU.
    share("file_share"),
    share("sqlite_share"),
    Quantity { higher_is_better: true, ..share("gpu_share") },
];

/// Of all documents together.
pub(super) const PIPELINE: &[Quantity] = &[
    // From a document's beginning to the end of its last stage.
    duration("time", "document"),
    // As that of a stage, over all stages.
    duration("transition", "transition"),
    // Documents with their last stage done, among those that were seen from their beginning.
    Quantity { name: "completion", shape: Shape::Share, sample: "document", higher_is_better: true },
    // Documents with their last stage done, per second of the run.
    Quantity { name: "rate", shape: Shape::Rate, sample: "document", higher_is_better: true },
];

/// Of the files of one rule.
pub(super) const CHECKPOINT: &[Quantity] = &[
    // From open to in place.
    duration("total", "file"),
    // Inside the writing calls of a file.
    duration("write", "file"),
    // Inside the syncing calls of a file that had some.
    duration("fsync", "file"),
    // Files that were never put in place, among all.
    Quantity { name: "lost_rate", shape: Shape::Share, sample: "file", higher_is_better: false },
];
