//! What `probe doctor` says of probes on functions: whether this kernel takes them, and what they open of the target.

use probe_common::kfunc;

use super::Page;
use crate::engine::{self, LoadConfig, TriedFunctions};
use crate::host::{Gap, Severity};

/// Of this kernel, and of the target where there is one; none where nothing could be tried.
#[derive(Debug, Default)]
pub(super) struct Functions {
    own: Option<Result<TriedFunctions, String>>,
    target: Option<TriedFunctions>,
}

impl Functions {
    /// Places each probe for a moment.
    pub(super) fn tried(config: &LoadConfig<'_>, target: Option<&[u32]>) -> Self {
        Self::of(
            engine::try_functions(config, &[]).map_err(|error| format!("{error:#}")),
            target.and_then(|pids| engine::try_functions(config, pids).ok()),
        )
    }

    pub(super) const fn of(own: Result<TriedFunctions, String>, target: Option<TriedFunctions>) -> Self {
        Self { own: Some(own), target }
    }
}

impl Page {
    pub(super) fn functions(&mut self, functions: &Functions) {
        let Some(own) = &functions.own else { return };
        self.title("functions, each really tried");
        let refused = match own {
            Err(error) => Some(error.as_str()),
            Ok(tried) => tried.refused.first().map(|(_, why)| why.as_str()),
        };
        match refused {
            None => self.fact("tls: this kernel", "takes probes on functions of programs and libraries"),
            Some(why) => self.gap(&Gap {
                severity: Severity::Degrades,
                what: format!("tls: no probe can be put on a function: {why}"),
                consequence: "requests inside TLS are not seen, only how many connections are encrypted"
                    .to_owned(),
                remedy: "a kernel with CONFIG_UPROBES, and the right to use them (CAP_PERFMON)".to_owned(),
            }),
        }
        let name = format!("kernel: {}", kfunc::READABLE);
        match own {
            Ok(tried) if tried.reads_directly => self.fact(&name, "kernel memory is read by plain instructions"),
            _ => self.line(
                "info",
                &name,
                "is not there as it is needed (6.17 and later): each read of kernel memory is a call, which costs more and \
                 sees the same",
            ),
        }
        let Some(target) = &functions.target else { return };
        for (file, symbols) in &target.placed {
            let symbols = symbols.iter().copied().collect::<Vec<_>>().join(", ");
            self.fact("tls: seen through", &format!("{symbols} of {file}"));
        }
        for (symbol, why) in &target.refused {
            self.gap(&Gap {
                severity: Severity::Degrades,
                what: format!("tls: no probe can be put on {symbol} of the target: {why}"),
                consequence: "requests inside its TLS are not seen, only how many connections are encrypted"
                    .to_owned(),
                remedy: "for the test, serve plain http behind a proxy that ends TLS".to_owned(),
            });
        }
        if target.placed.is_empty() && target.refused.is_empty() {
            self.line(
                "info",
                "tls: the target",
                "has loaded no OpenSSL with symbols; one that it loads later is found within a second",
            );
        }
    }
}
