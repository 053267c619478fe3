use super::*;

fn row(name: &str, running: bool, created: i64) -> Listed {
    let labels =
        [(labels::LABEL_CLIENT, "codex"), (labels::LABEL_SERVER, "time"), (labels::LABEL_SESSION, "s")];
    let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Listed {
        id: String::new(),
        name: name.to_owned(),
        labels,
        image: String::new(),
        command: String::new(),
        running,
        stopped: !running,
        created,
    }
}

#[test]
fn the_state_is_in_the_name() {
    assert_eq!(State::of("mcp-codex-1"), State::Active);
    assert_eq!(State::of("mcp-codex-1.standby"), State::Standby);
    assert_eq!(State::of("mcp-codex-0a1b2c.starting"), State::Starting);
}

#[test]
fn only_what_has_stood_still_is_swept() {
    let is_stale = |row: &Listed, now| is_stale(row, now, STALE_AFTER);
    assert!(is_stale(&row("a", false, 0), 21));
    assert!(!is_stale(&row("a", false, 0), 20), "its creator may be about to start it");
    assert!(!is_stale(&row("a", false, 30), 20), "a clock may be set back");
    assert!(!is_stale(&row("a", true, 0), 1_000_000));
    let paused = Listed { stopped: false, ..row("a", false, 0) };
    assert!(!is_stale(&paused, 1_000_000), "its session is alive");
}

#[test]
fn what_counts_as_stale_can_be_set() {
    let stale_after = |value: Option<&str>| {
        stale_after(&|name: &str| (name == STALE_VARIABLE).then(|| value.map(str::to_owned)).flatten())
    };
    assert_eq!(stale_after(None), Ok(STALE_AFTER));
    assert_eq!(stale_after(Some("")), Ok(STALE_AFTER));
    assert_eq!(stale_after(Some("0s")), Ok(Duration::ZERO));
    assert!(is_stale(&row("a", false, 0), 1, Duration::ZERO));
    let refused = stale_after(Some("soon")).unwrap_err();
    assert_eq!(refused.code, Code::Configuration);
    assert!(refused.text.starts_with("`BERTH_STALE_AFTER` is `soon`: expected "), "{refused}");
}

#[test]
fn numbers_are_ordered_as_numbers() {
    let mut names = ["mcp-codex-10", "mcp-codex-2", "mcp-claude-code-3", "mcp-codex-1"];
    names.sort_by_key(|name| natural(name));
    assert_eq!(names, ["mcp-claude-code-3", "mcp-codex-1", "mcp-codex-2", "mcp-codex-10"]);
}

#[test]
fn a_container_on_standby_is_nobodys_yet() {
    let mut standby = row("mcp-codex-1.standby", true, 5);
    standby.labels.remove(labels::LABEL_SESSION);
    let standby = entry(standby).unwrap();
    assert_eq!((standby.state, standby.owner.session.as_str(), standby.running), (State::Standby, "", true));
    let own = entry(row("mcp-codex-1", true, 5)).unwrap();
    assert_eq!((own.state, own.owner.session.as_str()), (State::Active, "s"));
    let states = [State::Standby, State::Active, State::Starting];
    assert_eq!(states.map(State::as_str), ["standby", "active", "starting"]);
    assert_eq!(serde_json::to_string(&states).unwrap(), r#"["standby","active","starting"]"#);
}

#[test]
fn the_keeper_shows_whose_it_is_and_which_way_the_bytes_go() {
    let place = super::super::place::Place::new().unwrap();
    let line = |rest: &str| format!("{} hold {rest}", place.program());
    let seen = |name: &str, isolation: &str, rest: Option<&str>| {
        let mut row = row(name, true, 5);
        row.labels.insert(labels::LABEL_ISOLATION.to_owned(), isolation.to_owned());
        let entry = shown(entry(row).unwrap(), rest.map(line).as_deref());
        (entry.owner.session, entry.owner.client_session, entry.way)
    };
    let (me, none) = ("me".to_owned(), String::new());
    let (direct, exec) = ("for me client-session=c streams=direct", "for me client-session=c");
    let said = Some("c".to_owned());
    let active = "mcp-codex-1";
    assert_eq!(seen(active, "container", Some(direct)), (me.clone(), said.clone(), Some(Way::Direct)));
    assert_eq!(seen(active, "container", Some(exec)), (me.clone(), said.clone(), Some(Way::Exec)));
    assert_eq!(seen("mcp-codex-0a.starting", "container", Some(exec)), (me, said.clone(), None));
    assert_eq!(seen(active, "container", Some("--grace 3000")), (none.clone(), None, None), "unclaimed");
    assert_eq!(seen("mcp-codex-1.standby", "container", Some(direct)), (none, None, None));
    assert_eq!(seen(active, "container", None), ("s".to_owned(), None, None), "silent");
    // What a server in a kernel of its own says of itself.
    assert_eq!(seen(active, "gvisor", Some(direct)), ("s".to_owned(), said, Some(Way::Exec)));
}

#[test]
fn a_container_of_its_own_kernel_that_was_on_standby_is_not_direct_either() {
    let mut row = row("mcp-codex-1", true, 5);
    row.labels.remove(labels::LABEL_SESSION);
    row.labels.insert(labels::LABEL_ISOLATION.to_owned(), "gvisor".to_owned());
    let line = "/.berth/keeper hold for me streams=direct";
    let entry = shown(entry(row).unwrap(), Some(line));
    assert_eq!((entry.owner, entry.way), (Owner::new("me", None, None), Some(Way::Exec)));
}

#[test]
fn a_container_without_a_client_is_no_session() {
    let mut filler = row("berth-keeper-filler", false, 0);
    filler.labels.remove(labels::LABEL_CLIENT);
    assert!(entry(filler.clone()).is_none());
    filler.labels.insert(labels::LABEL_CLIENT.to_owned(), String::new());
    assert!(entry(filler).is_none());
    assert_eq!(entry(row("mcp-codex-1", true, 5)).unwrap().server, "time");
}

#[test]
fn a_keeper_that_all_can_be_seen_with_is_known_by_its_place_unless_another_claims_it() {
    let places = [Place::new().unwrap(), Place::new().unwrap(), Place::new().unwrap()];
    let process = |pid, place: &Place, rest: &str| Process {
        pid,
        user: "2118909+".to_owned(),
        command_line: format!("{} {rest}", place.program()),
    };
    let seen = [
        process(1, &places[0], "hold for one"),
        process(2, &places[1], "hold for two"),
        process(3, &places[0], "run -- /server"),
        process(4, &places[1], "hold for a liar"),
        Process { command_line: "/berth-fixture hold for nobody".to_owned(), ..process(5, &places[2], "") },
    ];
    let keepers = keepers(&seen);
    let pid = |place: &Place| keepers.get(place.folder()).map(|keeper| keeper.map(|keeper| keeper.pid));
    assert_eq!([0, 1, 2].map(|n: usize| pid(&places[n])), [Some(Some(1)), Some(None), None]);
}
