//! Two programs on one hook, called one after the other for each event. The kernel leaves a program out while it is under
//! way on the same processor (`bpf_prog_get_recursion_context`): of what an interrupt brings to the first meanwhile, and from
//! Linux 7 on another thread, the second tells.

/// What the two know of one another, per CPU. An interrupt can come between any two lines of this.
///
/// It is exact for one interrupt on top of an event. One that comes in the last nanoseconds of the second program leaves its
/// object behind, until that object's next event: meanwhile an event can be told twice (it must not matter, and counts as
/// taken), and one of that object not at all (it is missed and not taken). So it is with more threads on top of one another.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Turns {
    /// Objects of events that the first was called for, and the second was not yet: that of a thread, and behind it that of
    /// an interrupt between the two. 0 for none.
    told: [u64; 2],
    /// Events that the first was left out of.
    taken: u64,
}

impl Turns {
    /// The first is called for an event of this object, which is not 0.
    #[inline(always)]
    pub const fn first(&mut self, object: u64) {
        let place = if self.told[0] == 0 { 0 } else { 1 };
        self.told[place] = object;
    }

    /// The second is; whether the first was left out, and this one has to tell of the event.
    #[inline(always)]
    pub const fn was_left_out(&mut self, object: u64) -> bool {
        if self.told[0] == object {
            // Whatever is behind it is over: of that the second was left out.
            self.told = [0, 0];
        } else if self.told[1] == object {
            self.told[1] = 0;
        } else {
            self.taken += 1;
            return true;
        }
        false
    }

    /// Of how many events the first was left out, and the second told.
    #[must_use]
    pub const fn n_taken(&self) -> u64 {
        self.taken
    }
}

// SAFETY: `repr(C)`, only `u64`: no padding, every bit pattern is a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Turns {}

#[cfg(test)]
mod tests {
    use super::Turns;

    /// Where an interrupt comes on top of an event: before, inside and between the two programs, and behind them.
    #[derive(Clone, Copy, PartialEq)]
    enum Moment {
        Before,
        EarlyInFirst,
        LateInFirst,
        Between,
        EarlyInSecond,
        LateInSecond,
        After,
    }
    use Moment::*;

    const MOMENTS: [Moment; 7] =
        [Before, EarlyInFirst, LateInFirst, Between, EarlyInSecond, LateInSecond, After];

    /// An event of an interrupt, of which those programs are left out that are under way; how often it is told of.
    fn interrupt(turns: &mut Turns, object: u64, moment: Moment) -> u32 {
        let mut n_told = 0;
        if !matches!(moment, EarlyInFirst | LateInFirst) {
            turns.first(object);
            n_told += 1;
        }
        if !matches!(moment, EarlyInSecond | LateInSecond) {
            n_told += u32::from(turns.was_left_out(object));
        }
        n_told
    }

    /// An event of a thread, with one of an interrupt on top of it.
    fn event(turns: &mut Turns, object: u64, on_top: Option<(u64, Moment)>) -> [u32; 2] {
        let mut n_told = [1, 0];
        let at = |turns: &mut Turns, now: Moment| match on_top {
            Some((object, moment)) if moment == now => interrupt(turns, object, moment),
            _ => 0,
        };
        n_told[1] += at(turns, Before) + at(turns, EarlyInFirst);
        turns.first(object);
        n_told[1] += at(turns, LateInFirst) + at(turns, Between) + at(turns, EarlyInSecond);
        n_told[0] += u32::from(turns.was_left_out(object));
        n_told[1] += at(turns, LateInSecond) + at(turns, After);
        n_told
    }

    /// Whenever an interrupt comes, each event is told of once, and it is known which of them by the second.
    #[test]
    fn each_event_is_told_of_once() {
        for moment in MOMENTS {
            let mut turns = Turns::default();
            for round in 1..5 {
                let taken = turns.n_taken();
                assert_eq!(event(&mut turns, round, Some((10 + round, moment))), [1, 1]);
                let is_taken = matches!(moment, EarlyInFirst | LateInFirst);
                assert_eq!(turns.n_taken() - taken, u64::from(is_taken));
            }
        }
    }

    /// What an interrupt left behind that came while the second was all but done hides no event of another object, and the
    /// next one of its own clears it away; if that is one of which the first is left out, it is missed and not taken.
    #[test]
    fn what_is_left_behind_is_cleared_away() {
        for moment in MOMENTS {
            let mut turns = Turns::default();
            event(&mut turns, 1, Some((7, LateInSecond)));
            let of_thread = if matches!(moment, Between | EarlyInSecond) { 2 } else { 1 };
            assert_eq!(event(&mut turns, 2, Some((8, moment))), [of_thread, 1]);
            assert_eq!(event(&mut turns, 7, None), [1, 0]);
            assert_eq!(event(&mut turns, 2, Some((8, Between))), [1, 1]);
        }
        let mut turns = Turns::default();
        event(&mut turns, 1, Some((7, LateInSecond)));
        assert_eq!((event(&mut turns, 2, Some((7, EarlyInFirst))), turns.n_taken()), ([1, 0], 0));
    }
}
