//! Tables of what a run cost, and what it gives up for it; and whatever else it may cost.

use proptest::prelude::*;

use super::*;

const ALL: Spare = Spare { statements: true, connections: true };
const NONE: Spare = Spare { statements: false, connections: false };
const CONNECTIONS: Spare = Spare { connections: true, ..NONE };

/// Half of it in the kernel.
fn look(cost: f64) -> Look {
    Look { bpf: Some(cost / 2.0), agent: cost / 2.0 }
}

const fn connections(one_in: u32) -> Decision {
    Decision::GiveUp(GivenUp::Connections(Sample { one_in }))
}

#[test]
fn steps_in_their_order() {
    let mut controller = Controller::new(0.01);
    let mut over = |spare| {
        assert_eq!(controller.look(look(0.02), spare), None, "one look alone");
        controller.look(look(0.02), spare)
    };
    assert_eq!(over(ALL), Some(Decision::GiveUp(GivenUp::Statements)));
    for one_in in [2, 4, 8, 16] {
        assert_eq!(over(CONNECTIONS), Some(connections(one_in)));
    }
    assert_eq!(over(CONNECTIONS), Some(Decision::NothingLeft));
    assert_eq!(over(CONNECTIONS), None, "said once");
    assert_eq!(controller.budget(), Budget { limit: 0.01, kept: Some(false), cost: Some(0.02) });
    // A library that is loaded later brings its probes with it.
    let mut controller = Controller::new(0.01);
    controller.look(look(0.02), CONNECTIONS);
    assert_eq!(controller.look(look(0.02), CONNECTIONS), Some(connections(2)));
    controller.look(look(0.02), ALL);
    assert_eq!(controller.look(look(0.02), ALL), Some(Decision::GiveUp(GivenUp::Statements)));
}

#[test]
fn two_in_succession() {
    let mut controller = Controller::new(0.01);
    for cost in [0.02, 0.01, 0.02, 0.005, 0.02] {
        assert_eq!(controller.look(look(cost), ALL), None, "{cost}");
    }
    assert_eq!(controller.look(look(0.0101), ALL), Some(Decision::GiveUp(GivenUp::Statements)));
}

#[test]
fn what_is_not_measured_is_not_kept() {
    let unknown = |agent| Look { bpf: None, agent };
    for (looks, kept, cost) in [
        (vec![], None, None),
        (vec![look(0.008)], Some(true), Some(0.008)),
        (vec![look(0.02)], Some(false), Some(0.02)),
        (vec![unknown(0.008)], None, Some(0.008)),
        (vec![look(0.006), unknown(0.008)], None, Some(0.007)),
        (vec![unknown(0.02)], Some(false), Some(0.02)),
    ] {
        let mut controller = Controller::new(0.01);
        for look in &looks {
            controller.look(*look, ALL);
        }
        assert_eq!(controller.budget(), Budget { limit: 0.01, kept, cost }, "{looks:?}");
    }
    // A step begins anew.
    let mut controller = Controller::new(0.01);
    controller.look(look(0.02), ALL);
    controller.look(look(0.02), ALL);
    assert_eq!(controller.budget(), Budget { limit: 0.01, kept: None, cost: None });
}

proptest! {
    /// Whatever a run costs: samples only become smaller, each by half; a step needs two looks over the budget, and a run
    /// within it gives nothing up.
    #[test]
    fn only_down(
        limit in 0.001f64..1.0,
        looks in prop::collection::vec((0.0f64..2.0, any::<bool>(), any::<bool>()), 0..60),
    ) {
        let mut controller = Controller::new(limit);
        let (mut one_in, mut n_over, mut is_over) = (1, 0, false);
        for (cost, statements, connections) in looks {
            let cost = look(cost);
            n_over = if cost.cost() > limit { n_over + 1 } else { 0 };
            match controller.look(cost, Spare { statements, connections }) {
                None => prop_assert!(n_over < N_OVER || is_over),
                Some(decision) => {
                    prop_assert!(n_over >= N_OVER && !is_over);
                    match decision {
                        Decision::GiveUp(GivenUp::Statements) => prop_assert!(statements),
                        Decision::GiveUp(GivenUp::Connections(sample)) => {
                            prop_assert!(connections && !statements);
                            prop_assert_eq!(sample.one_in, one_in * 2);
                            one_in = sample.one_in;
                        }
                        Decision::NothingLeft => is_over = true,
                    }
                    n_over = 0;
                }
            }
        }
        prop_assert!(one_in <= SMALLEST_SAMPLE);
        prop_assert!(!is_over || controller.budget().kept == Some(false));
    }
}
