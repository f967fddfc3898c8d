//! Each question of the audit that a machine answers, found alone.

use super::*;

const GOOD: &str = "name = 'x'
[load]
command = ['k6', 'run', 's.js']
[[phase]]
name = 'warm-up'
duration = '60s'
judged = false
[[phase]]
name = 'sustained'
duration = '900s'
net = 'far'
[[objective]]
id = 'rate'
metric = 'rate'
target = '1/s'
limit = '1/s'
[[objective]]
id = 'p95'
metric = 'latency.p95'
target = '1s'
limit = '1s'
";

fn gaps<'a>(text: &str, change: impl FnOnce(&mut Facts, &mut Seen<'a>)) -> Vec<(Level, String)> {
    let profile = Profile::parse("F", text).unwrap();
    let mut facts = Facts { cmdline: "uvicorn app:app --workers 2".to_owned(), ..Facts::default() };
    facts.listeners.push(crate::target::Listener {
        addr: [127, 0, 0, 1].into(),
        port: 1,
        pids: vec![1],
        inode: 1,
        netns: 1,
    });
    let mut seen = Seen { n_baselines: 1, n_cpus: 2, ..Seen::default() };
    change(&mut facts, &mut seen);
    let seen = Seen { facts: Some(&facts), ..seen };
    find(&profile, &seen).into_iter().map(|finding| (finding.level, finding.gap)).collect()
}

/// Each gap is found alone; the one of the good profile is that its load shares the machine.
#[test]
fn each_question_has_its_answer() {
    let only_load = gaps(GOOD, |_, _| ());
    assert!(only_load.len() == 1 && only_load[0].1.contains("load generator"), "{only_load:?}");
    let none = |_: &mut Facts, _: &mut Seen<'_>| ();
    let missing = ["k6".to_owned()];
    let conditions = [("sustained".to_owned(), "this kernel lacks sch_netem".to_owned())];
    let databases = ["/srv/data.db".to_owned(), "/tmp/test.db".to_owned()];
    for (found, level, words) in [
        (gaps("name = 'x'", none), Level::Blocker, "no objectives"),
        (gaps(GOOD, |_, seen| seen.missing_programs = &missing), Level::Blocker, "`k6` is not on"),
        (
            gaps(GOOD, |_, seen| seen.missing_conditions = &conditions),
            Level::Warning,
            "condition of phase `sustained` is not available: this kernel lacks sch_netem",
        ),
        (gaps(GOOD, |facts, _| facts.cmdline += " --reload"), Level::Blocker, "`--reload`"),
        (gaps(GOOD, |facts, _| facts.cmdline += " --log-level debug"), Level::Blocker, "debug"),
        (gaps(GOOD, |facts, _| facts.listeners.clear()), Level::Blocker, "no TCP port"),
        (gaps(GOOD, |_, seen| seen.max_files = Some(1024)), Level::Warning, "1024 files"),
        (gaps(GOOD, |_, seen| seen.n_ports = Some(500)), Level::Warning, "500 ports"),
        (gaps(GOOD, |_, seen| seen.n_baselines = 0), Level::Warning, "no earlier run"),
        (gaps(GOOD, |_, seen| seen.databases = &databases), Level::Warning, "`/srv/data.db`"),
        (gaps(&GOOD.replace("judged = false", ""), none), Level::Warning, "no warm-up"),
        (
            gaps(&GOOD.replace("'1/s'", "'3/min'"), none),
            Level::Warning,
            "needs 72 samples; `rate` asks for 45",
        ),
        (gaps(&GOOD.replace("900s", "60s"), none), Level::Warning, "asks for 60"),
        (gaps(&GOOD.replace("net = 'far'", ""), none), Level::Recommendation, "perfect local network"),
        (
            gaps(GOOD, |facts, _| {
                facts.cmdline = "uvicorn a:b".to_owned();
                facts.processes = vec![1];
            }),
            Level::Recommendation,
            "one worker",
        ),
    ] {
        let is_it = |(found, gap): &&(Level, String)| *found == level && gap.contains(words);
        assert_eq!(found.iter().filter(is_it).count(), 1, "{words}: {found:?}");
    }
}

#[test]
fn the_score_follows_the_gaps() {
    let of = |level, n: usize| vec![finding(level, "", "", "", ""); n];
    for (findings, expected) in [
        (vec![], 10),
        (of(Level::Recommendation, 4), 9),
        (of(Level::Warning, 4), 7),
        (of(Level::Blocker, 1), 7),
        (of(Level::Blocker, 9), 1),
    ] {
        assert_eq!(score(&findings), expected, "{}", findings.len());
    }
}
