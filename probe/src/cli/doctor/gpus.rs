//! What `probe doctor` says of GPUs.

use super::Page;
use crate::host::{Gap, Severity};
use crate::probes::gpu::{Survey, SurveyedGpu};

impl Page {
    pub(super) fn gpus(&mut self, survey: &Survey) {
        self.title("GPUs");
        if let Some((what, remedy)) = &survey.absence {
            self.gap(&Gap {
                severity: Severity::Info,
                what: what.clone(),
                consequence: "there is nothing to say of GPUs; all else is seen".to_owned(),
                remedy: remedy.clone(),
            });
        }
        for SurveyedGpu { device, n_processes } in &survey.gpus {
            let name = device.name.as_deref().unwrap_or("of unknown name");
            let memory = device
                .memory_total_bytes
                .map(|bytes| format!(", {:.0} GiB", bytes as f64 / f64::from(1 << 30)));
            let mig = if device.is_mig { ", divided into instances (MIG)" } else { "" };
            self.fact(
                &format!("GPU {}", device.gpu),
                &format!(
                    "{}{}{mig}, driver {}, {n_processes} processes",
                    printable(name),
                    memory.unwrap_or_default(),
                    printable(device.driver.as_deref().unwrap_or("unknown"))
                ),
            );
        }
        for gap in &survey.gaps {
            self.gap(&Gap {
                severity: Severity::Degrades,
                what: format!("{}: {}", gap.what, gap.why),
                consequence: "it is missing from the report's section on GPUs".to_owned(),
                remedy: gap.remedy.clone(),
            });
        }
    }
}

/// A driver's text, harmless for a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}
