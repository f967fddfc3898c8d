//! The report: its data ([`model`]), how it is made ([`build`]), and the forms it is shown in.
//!
//! The only place with titles, units and colours.

mod budget;
mod build;
mod build_gpu;
mod condition;
mod course;
mod databases;
mod distribution;
mod github;
mod grid;
mod html;
mod json;
mod junit;
mod markdown;
pub mod model;
mod outgoing;
mod resources;
mod series;
mod stage;
mod text;
mod warnings;

pub use budget::of_a_core;
pub use build::build;
pub use github::annotations;
pub use html::Html;
pub use json::{Json, schema};
pub use junit::Junit;
pub use markdown::Markdown;
pub use model::Report;
pub use text::Text;

/// A form of the report. Renders the same report to the same bytes.
pub trait Renderer {
    /// The report in this form, with a final line break.
    fn render(&self, report: &Report) -> String;
}

#[cfg(test)]
mod tests;
