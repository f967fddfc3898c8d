//! What the driver does not tell: collected while a run goes on, each named once at its end.

use std::collections::{BTreeMap, BTreeSet};

use nvml_wrapper::error::NvmlError;

use super::fault::{remedy, words};
use crate::event::BlindSpot;

/// A figure that is asked for, or a few of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Figure {
    Identity,
    Samples,
    Utilisation,
    Memory,
    Power,
    Energy,
    Throttle,
    Temperature,
    SmClock,
    MemoryClock,
    Pcie,
    Encoder,
    Decoder,
    Processes,
    ProcessUtilisation,
    Limits,
    Instances,
    Ecc,
    NvLink,
    PcieReplays,
}

impl Figure {
    const fn name(self) -> &'static str {
        match self {
            Self::Identity => "name",
            Self::Samples => "utilisation between looks (the driver's samples)",
            Self::Utilisation => "utilisation",
            Self::Memory => "memory",
            Self::Power => "power",
            Self::Energy => "energy",
            Self::Throttle => "throttling",
            Self::Temperature => "temperature",
            Self::SmClock => "processor clock",
            Self::MemoryClock => "memory clock",
            Self::Pcie => "PCIe throughput",
            Self::Encoder => "encoder",
            Self::Decoder => "decoder",
            Self::Processes => "memory by process",
            Self::ProcessUtilisation => "utilisation by process",
            Self::Limits => "limits",
            Self::Instances => "instances",
            Self::Ecc => "memory errors",
            Self::NvLink => "NVLink errors",
            Self::PcieReplays => "PCIe replays",
        }
    }

    /// Many GPUs are built without it: that is no gap in what is seen.
    const fn is_extra(self) -> bool {
        matches!(self, Self::Limits | Self::Instances | Self::Ecc | Self::NvLink | Self::PcieReplays)
    }
}

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps {
    /// Why nothing at all is seen.
    whole: Option<BlindSpot>,
    /// By the driver's words and what helps, then by GPU.
    figures: BTreeMap<(String, &'static str), BTreeMap<u32, BTreeSet<Figure>>>,
    /// GPUs that cannot be read: what of them, and why.
    gpus: BTreeMap<u32, (&'static str, String, &'static str)>,
    /// Answers that failed in passing, and the last words.
    n_passing: u64,
    last_passing: String,
}

impl Gaps {
    pub(super) fn nothing(&mut self, why: String, remedy: &str) {
        self.whole.get_or_insert(BlindSpot {
            what: "what the GPU did".to_owned(),
            why,
            remedy: remedy.to_owned(),
        });
    }

    /// The driver itself gave up.
    pub(super) fn driver(&mut self, error: &NvmlError) {
        self.nothing(format!("its driver says: {}", words(error)), remedy(error));
    }

    /// A GPU that never answered.
    pub(super) fn refused(&mut self, gpu: u32, error: &NvmlError) {
        self.gpus.entry(gpu).or_insert_with(|| ("", words(error), remedy(error)));
    }

    /// A GPU that answered before.
    pub(super) fn lost(&mut self, gpu: u32, error: &NvmlError) {
        let what = " since it stopped answering";
        self.gpus.entry(gpu).or_insert_with(|| (what, words(error), remedy(error)));
    }

    pub(super) fn figure(&mut self, gpu: u32, figure: Figure, error: &NvmlError) {
        if figure.is_extra() && matches!(error, NvmlError::NotSupported) {
            return;
        }
        let gpus = self.figures.entry((words(error), remedy(error))).or_default();
        gpus.entry(gpu).or_default().insert(figure);
    }

    pub(super) fn passing(&mut self, error: &NvmlError) {
        self.n_passing += 1;
        self.last_passing = words(error);
    }

    /// One line for each cause.
    pub(super) fn blind_spots(&self) -> Vec<BlindSpot> {
        let mut spots: Vec<BlindSpot> = self.whole.iter().cloned().collect();
        for (gpu, (what, why, remedy)) in &self.gpus {
            spots.push(BlindSpot {
                what: format!("GPU {gpu}{what}"),
                why: format!("the driver says: {why}"),
                remedy: (*remedy).to_owned(),
            });
        }
        for ((why, remedy), gpus) in &self.figures {
            // GPUs of one kind lack the same: one line for all of them.
            let mut alike: BTreeMap<&BTreeSet<Figure>, Vec<String>> = BTreeMap::new();
            for (gpu, figures) in gpus {
                alike.entry(figures).or_default().push(gpu.to_string());
            }
            for (figures, gpus) in alike {
                let figures: Vec<&str> = figures.iter().map(|figure| figure.name()).collect();
                spots.push(BlindSpot {
                    what: format!("of GPU {}: {}", gpus.join(", "), figures.join(", ")),
                    why: format!("the driver says: {why}"),
                    remedy: (*remedy).to_owned(),
                });
            }
        }
        if self.n_passing > 0 {
            spots.push(BlindSpot {
                what: format!("{} answers of the GPU's driver", self.n_passing),
                why: format!("they failed, the last with: {}", self.last_passing),
                remedy: "look at `nvidia-smi` and the kernel's log".to_owned(),
            });
        }
        spots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line for each cause, however often it happens; what GPUs are commonly built without is none.
    #[test]
    fn each_cause_is_named_once() {
        let mut gaps = Gaps::default();
        for gpu in 0..2 {
            for _ in 0..3 {
                gaps.figure(gpu, Figure::Power, &NvmlError::NotSupported);
                gaps.figure(gpu, Figure::Energy, &NvmlError::NotSupported);
                gaps.figure(gpu, Figure::Ecc, &NvmlError::NotSupported);
            }
        }
        gaps.figure(1, Figure::Ecc, &NvmlError::NoPermission);
        gaps.lost(1, &NvmlError::GpuLost);
        gaps.passing(&NvmlError::Timeout);
        let spots = gaps.blind_spots();
        let whats: Vec<&str> = spots.iter().map(|spot| spot.what.as_str()).collect();
        assert_eq!(
            whats,
            [
                "GPU 1 since it stopped answering",
                "of GPU 1: memory errors",
                "of GPU 0, 1: power, energy",
                "1 answers of the GPU's driver",
            ]
        );
    }
}
