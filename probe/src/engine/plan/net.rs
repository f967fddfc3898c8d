//! The network conditions of a phase: put up, measured, kept alive and taken back by a thread of its own, because
//! measuring takes seconds, and the ring is drained meanwhile.

use std::{
    sync::{Arc, atomic::AtomicBool, atomic::Ordering, mpsc},
    thread,
};

use anyhow::Result;
use tokio::sync::oneshot;

use crate::{
    event::Proof,
    inject::{Injector, Request, netns::Netns},
};

/// What a phase runs under.
#[derive(Clone, Debug)]
pub struct NetPlan {
    /// The conditions and where they are put up.
    pub request: Request,
    /// The network namespace of the device, where it is not ours.
    pub netns: Option<Netns>,
}

impl NetPlan {
    /// Whether all of it can be done here; touches nothing.
    pub fn check(&self) -> Result<()> {
        let plan = self.clone();
        let checked = thread::spawn(move || {
            plan.enter()?;
            Injector::check(&plan.request)
        });
        checked.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the thread that looked ended")))
    }

    /// Takes the calling thread to the device.
    fn enter(&self) -> Result<()> {
        self.netns.as_ref().map_or(Ok(()), Netns::enter)
    }
}

/// Conditions in force, or on their way there.
#[derive(Debug)]
pub(super) struct Held {
    in_force: oneshot::Receiver<()>,
    proof: oneshot::Receiver<Proof>,
    cancelled: Arc<AtomicBool>,
    /// Its end lets them go.
    hold: Option<mpsc::Sender<()>>,
}

impl Held {
    /// Begins to put them up.
    pub(super) fn begin(plan: &NetPlan) -> Self {
        let (mut plan, cancelled) = (plan.clone(), Arc::<AtomicBool>::default());
        plan.request.cancelled = Arc::clone(&cancelled);
        let (hold, held) = mpsc::channel();
        let (says_in_force, in_force) = oneshot::channel();
        let (says_proof, proof) = oneshot::channel();
        let work = move || {
            let proof = work(&plan, says_in_force, &held).unwrap_or_else(|error| {
                tracing::warn!("network condition: {error:#}");
                Proof::refused(format!("{error:#}"))
            });
            // Nobody waits for it when the run has failed.
            let _ = says_proof.send(proof);
        };
        if let Err(error) = thread::Builder::new().name("conditions".to_owned()).spawn(work) {
            tracing::warn!(%error, "failed to start a thread for the network condition");
        }
        Self { in_force, proof, cancelled, hold: Some(hold) }
    }

    /// Waits until they are in force and measured, or until it is clear that they will not be.
    pub(super) async fn in_force(&mut self) {
        let _gone = (&mut self.in_force).await;
    }

    /// Lets them go, whatever is still being measured.
    pub(super) fn let_go(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.hold = None;
    }

    /// Waits until they are gone: what is known of them.
    pub(super) async fn gone(&mut self) -> Proof {
        (&mut self.proof)
            .await
            .unwrap_or_else(|_| Proof::refused("its thread ended before its time".to_owned()))
    }
}

/// The whole life of the conditions.
fn work(plan: &NetPlan, in_force: oneshot::Sender<()>, held: &mpsc::Receiver<()>) -> Result<Proof> {
    plan.enter()?;
    let mut injector = Injector::apply(plan.request.clone())?;
    for problem in &injector.verify()?.problems {
        tracing::warn!("network condition: {problem}");
    }
    // From here on nothing is measured until the condition is let go.
    let _ = in_force.send(());
    while let Some(wait) = injector.tick()? {
        if held.recv_timeout(wait) != Err(mpsc::RecvTimeoutError::Timeout) {
            break;
        }
    }
    injector.release()
}
