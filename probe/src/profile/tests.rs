//! Profiles as users write them, right and wrong.

use proptest::prelude::*;

use super::*;

const GOOD: &str = r#"
name = "shop"
about = "A shop."
routes = ["GET /items/{id}", "/cart"]

[endpoints]
max = 20

[[objective]]
id = "items-p95"
endpoint = "GET /items/{id}"
metric = "latency.p95"
target = "200ms"
limit = "1s"

[[objective]]
id = "success"
endpoint = "*"
metric = "success_rate"
target = "99%"
limit = 0.95
"#;

fn errors(text: &str) -> Vec<String> {
    match Profile::parse("F", text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.to_string().lines().skip(1).map(str::to_owned).collect(),
    }
}

/// The good profile with one text replaced, which must be there.
fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

#[test]
fn a_good_profile() {
    let profile = Profile::parse("F", GOOD).unwrap();
    assert_eq!(profile.name, "shop");
    assert_eq!(profile.max_endpoints, 20);
    assert_eq!(profile.routes.len(), 2);
    let [items, success] = profile.objectives.as_slice() else { panic!("two objectives") };
    assert_eq!(items.metric.to_string(), "latency.p95");
    assert_eq!((items.target, items.limit), (0.2, 1.0));
    assert_eq!((success.target, success.limit), (0.99, 0.95));
    assert!(success.subject.as_ref().unwrap().is_wildcard());
    // `printf 'name = "x"\n' | sha256sum`
    let small = Profile::parse("F", "name = \"x\"\n").unwrap();
    assert_eq!(small.sha256, "3eb10e9d710d38dc9fe5566f14f7d2cb97ca68a5c6c6b00150b73c69064410cc");
}

#[test]
fn the_profiles_of_the_house_are_good() {
    Profile::builtin().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiles");
    let mut n_profiles = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            Profile::load(&path).unwrap();
            n_profiles += 1;
        }
    }
    assert!(n_profiles >= 2);
}

#[test]
fn all_errors_at_once_with_their_places() {
    let text = "nmae = \"x\"\nroutes = [\"GET items\", \"/a\", \"/a\"]\n\n[[objective]]\nid = \"a\"\nmetric = \"latency.p95\"\ntreshold = \"1s\"\ntarget = \"2s\"\nlimit = \"1s\"\n\n[[objective]]\nid = \"a\"\nmetric = \"latency.p42\"\n";
    let shown = Profile::parse("F", text).unwrap_err().to_string();
    let subjects = Kind::ALL.map(Kind::key).join(", ");
    assert_eq!(
        shown,
        format!(
            "failed to read profile `F`: 10 errors\n\
         F:1:1: unknown key `nmae` (did you mean `name`?)\n\
         F:1:1: the profile lacks `name`\n\
         F:2:11: route `GET items` has a path that does not begin with `/`\n\
         F:2:30: route `/a` is the same as `/a` before it\n\
         F:7:1: unknown key `treshold` (known here: id, {subjects}, phase, key, metric, target, limit)\n\
         F:9:9: `limit` of objective `a` is stricter than its `target`: less is better for `latency.p95`, \
         so the limit must not be below the target\n\
         F:11:1: objective `a` lacks `target`\n\
         F:11:1: objective `a` lacks `limit`\n\
         F:12:6: another objective has the id `a`\n\
         F:13:10: unknown metric `latency.p42` (percentiles are p50, p90, p95, p99 and p999)"
        )
    );
}

#[test]
fn rules_that_end_a_run() {
    let rule = "name = 'x'\n[[phase]]\nname = 'peak'\nduration = '1m'\n[[abort]]\nid = 'a'\nphase = 'pe*'\n";
    let read = |more: &str| Profile::parse("F", &format!("{rule}{more}"));
    let profile = read("metric = 'latency.p95'\nlimit = '1s'\n").unwrap();
    let found = &profile.aborts[0];
    assert_eq!((found.min_samples, found.window.as_secs(), found.limit), (72, 30, 1.0));
    assert!(found.is_past(1.001) && !found.is_past(1.0));
    let least = read("metric = 'success_rate'\nlimit = '90%'\nmin_samples = 5\nwindow = '5s'\n").unwrap();
    let found = &least.aborts[0];
    assert!(found.is_past(0.89) && !found.is_past(0.9) && found.min_samples == 5);
    for (more, wrong) in [
        ("limit = 1\n", "abort rule `a` lacks `metric`"),
        ("metric = 'error_rate'\n", "abort rule `a` lacks `limit`"),
        ("metric = 'rate'\nlimit = 5\n", "abort rule `a` cannot watch `rate`"),
        ("metric = 'delivery.p95'\nlimit = '1s'\n", "abort rule `a` cannot watch `delivery.p95`"),
        ("metric = 'error_rate'\nlimit = '5%'\nwindow = '5ms'\n", "`window` must be between 1s and 1h"),
        ("metric = 'error_rate'\nlimit = '5%'\nmin_samples = 0\n", "`min_samples` must be a whole number"),
        ("metric = 'error_rate'\nlimit = '5%'\nendpoint = 'x'\n", "endpoint `x` is not `METHOD /path`"),
        ("metric = 'error_rate'\nlimit = '5%'\n[[abort]]\nid = 'a'\n", "another abort rule has the id `a`"),
        (
            "metric = 'error_rate'\nlimit = '5%'\n[[abort]]\nid = 'b'\nphase = 'x'\nmetric = 'error_rate'\nlimit = 1\n",
            "abort rule `b` binds to no phase",
        ),
    ] {
        let shown = read(more).unwrap_err().to_string();
        assert!(shown.contains(wrong), "{shown}");
    }
}

const PHASED: &str = r#"
name = "shop"

[load]
command = ["k6", "run", "-u", "{users}"]
ok_exit_codes = [0, 99]
grace = "5s"
saturation = "80%"

[[phase]]
name = "warm-up"
duration = "10s"
judged = false

[[phase]]
name = "poor"
duration = "1m"
net = "poor"
load = ["curl", "{host}"]
vars = { users = 5, ramp = "2s" }

[[objective]]
id = "success"
phase = "po*"
key = true
metric = "success_rate"
target = "99%"
limit = 0.95
"#;

#[test]
fn a_plan_of_a_run() {
    let profile = Profile::parse("F", PHASED).unwrap();
    let [warm_up, poor] = profile.phases.as_slice() else { panic!("two phases") };
    assert_eq!((warm_up.judged, warm_up.load.clone(), warm_up.vars.len()), (false, None, 0));
    assert_eq!((poor.judged, poor.condition(), poor.duration.as_secs()), (true, Some("poor".to_owned()), 60));
    assert_eq!((poor.vars["users"].as_str(), poor.vars["ramp"].as_str()), ("5", "2s"));
    assert_eq!(profile.load.ok_exit_codes, [0, 99]);
    assert_eq!((profile.load.grace.as_secs(), profile.load.saturation), (5, 0.8));
    let [objective] = profile.objectives.as_slice() else { panic!("one objective") };
    assert!(objective.key && objective.binds_to("poor") && !objective.binds_to("warm-up"));
}

#[test]
fn one_error_each_in_a_plan() {
    let mut wrong = Vec::new();
    for (from, to, expected) in [
        ("\"warm-up\"", "\"poor\"", "F:15:1: another phase has the name `poor`"),
        ("duration = \"10s\"", "", "F:10:1: phase `warm-up` lacks `duration`"),
        (
            "\"10s\"",
            "10",
            "F:12:12: `duration` is an integer, not a duration with its unit, as in \"200ms\" or \"1.5s\"",
        ),
        ("\"10s\"", "\"31h\"", ""),
        ("\"10s\"", "\"721h\"", "F:12:12: `duration` must be between 1ms and 30 days"),
        ("judged = false", "judged = 0", "F:13:10: `judged` is an integer, not true or false"),
        ("[\"curl\", \"{host}\"]", "[]", "F:19:8: `load` is empty, write [\"program\", \"argument\", ...]"),
        ("users = 5", "host = 5", "F:20:10: `host` has a meaning of its own in load commands"),
        ("users = 5", "users = []", "F:20:18: `users` is an array, not a string or a number"),
        ("[0, 99]", "[0, 256]", "F:6:21: `exit code` must be a whole number from 0 to 255"),
        ("\"80%\"", "0", "F:8:14: `saturation` is zero"),
        ("\"po*\"", "\"warm*\"", "F:22:1: objective `success` binds to no judged phase (judged are: poor)"),
        (
            "\"po*\"",
            "\"pour\"",
            "F:22:1: objective `success` binds to no judged phase (did you mean `poor`?)",
        ),
    ] {
        assert!(PHASED.contains(from), "{from}");
        let expected: Vec<_> = Some(expected).filter(|expected| !expected.is_empty()).into_iter().collect();
        let found = errors(&PHASED.replacen(from, to, 1));
        if found != expected {
            wrong.push(format!("{from} -> {to}: {found:?}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn one_error_each() {
    for (from, to, expected) in [
        ("name = \"shop\"", "name = 3", "F:2:8: `name` is an integer, not a string"),
        ("name = \"shop\"", "name = \"\"", "F:2:8: `name` must be 1 to 60 printable ASCII characters"),
        ("max = 20", "max = 0", "F:7:7: `max` must be a whole number from 1 to 1000"),
        ("max = 20", "max = 2.5", "F:7:7: `max` must be a whole number from 1 to 1000"),
        ("max = 20", "most = 20", "F:7:1: unknown key `most` (known here: max)"),
        (
            "\"/cart\"",
            "\"/items/{x:path}/y\"",
            "F:4:30: route `/items/{x:path}/y`: `{x:path}` takes the rest of the path and must stand at its end",
        ),
        (
            "\"200ms\"",
            "200",
            "F:13:10: `target` of objective `items-p95` is an integer, not a duration with its unit, as in \"200ms\" or \"1.5s\"",
        ),
        ("\"200ms\"", "\"-1ms\"", "F:13:10: `target` of objective `items-p95` is negative"),
        (
            "limit = 0.95",
            "limit = 0.999",
            "F:21:9: `limit` of objective `success` is stricter than its `target`: more is better for `success_rate`, so the limit must not be above the target",
        ),
        (
            "limit = \"1s\"",
            "limit = \"0.1s\"",
            "F:14:9: `limit` of objective `items-p95` is stricter than its `target`: less is better for `latency.p95`, so the limit must not be below the target",
        ),
        ("id = \"success\"", "id = \"items-p95\"", "F:17:6: another objective has the id `items-p95`"),
        ("latency.p95", "latncy.p95", "F:12:10: unknown metric `latncy.p95` (did you mean `latency.p95`?)"),
        (
            "latency.p95",
            "latency.p97",
            "F:12:10: unknown metric `latency.p97` (percentiles are p50, p90, p95, p99 and p999)",
        ),
        (
            "endpoint = \"*\"",
            "endpoint = \"GET **\"",
            "F:18:12: endpoint `GET **` has a path that does not begin with `/` and is not `*`",
        ),
        (
            "endpoint = \"GET /items/{id}\"",
            "endpoint = \"GET /items/{item}\"",
            "F:11:12: endpoint `GET /items/{item}` would never be seen: its route is written `GET /items/{id}`",
        ),
        ("limit = \"1s\"", "", "F:9:1: objective `items-p95` lacks `limit`"),
    ] {
        assert_eq!(errors(&changed(from, to)), [expected], "{to}");
    }
}

#[test]
fn syntax_errors_have_a_line_and_do_not_hide_others() {
    let broken = changed("target = \"200ms\"", "target = \"200ms").replace("max = 20", "mux = 20");
    let errors = errors(&broken);
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert!(errors[0].starts_with("F:7:1: unknown key `mux` (did you mean `max`?)"), "{errors:#?}");
    assert!(errors[1].starts_with("F:13:"), "{errors:#?}");
}

#[test]
fn files_that_are_no_profiles() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Profile::load(&folder.path().join("none.toml")).unwrap_err().to_string();
    assert!(missing.ends_with("none.toml`: No such file or directory (os error 2)"), "{missing}");
    let binary = folder.path().join("binary.toml");
    std::fs::write(&binary, b"name\xff").unwrap();
    assert!(Profile::load(&binary).unwrap_err().to_string().ends_with("not UTF-8 text (byte 4)"));
    let endless = Profile::load(Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(endless.ends_with("longer than 256 KiB"), "{endless}");
}

proptest! {
    /// Whatever is read gives a profile or at least one error with a place, and never a panic.
    #[test]
    fn any_text_is_read_or_refused(text: String) {
        check(&text)?;
    }

    /// Mutations of a good profile reach deeper than random text.
    #[test]
    fn any_mutation_is_read_or_refused(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, "[\\[\\]{}=\"'#.,*/ \na-z0-9é%-]{0,6}"), 1..6)
    ) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, length, insert) in cuts {
            let start = at.index(text.len().max(1)).min(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, insert.chars());
        }
        check(&text.into_iter().collect::<String>())?;
    }
}

fn check(text: &str) -> Result<(), TestCaseError> {
    match Profile::parse("F", text) {
        Ok(profile) => prop_assert!(!profile.name.is_empty()),
        Err(errors) => {
            prop_assert!(!errors.errors.is_empty());
            prop_assert!(errors.errors.iter().all(|error| error.place.is_some()));
            let shown = errors.to_string();
            prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n'));
        }
    }
    Ok(())
}
