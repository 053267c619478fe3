//! Events of the manager's own.

use super::*;

#[tokio::test]
async fn what_the_manager_notes_stays_until_it_is_old_and_wakes_who_follows() {
    let house = House::new();
    let news = house.index.news();
    let noted = |time: Timestamp| Noted {
        time: time.as_microsecond(),
        kind: event::Kind::Scaling,
        name: "codex-abc".to_owned(),
        server: Some("files".to_owned()),
        client: Some("codex".to_owned()),
        detail: "2 -> 0: no session came for 5 minutes".to_owned(),
    };
    let old = Timestamp::now().checked_sub(TEN_YEARS + Duration::from_secs(1)).unwrap();
    house.index.note(vec![noted(Timestamp::now()), noted(old)]).await.unwrap();
    assert!(news.has_changed().unwrap());
    let mut house = house.again();
    let scaling = [("scaling".to_owned(), "codex-abc".to_owned())];
    assert_eq!(house.events(), [scaling.clone(), scaling.clone()].concat(), "a new start forgets none");
    house.tend();
    assert_eq!(house.events(), scaling);
    let wanted = events::Wanted { kind: Some(event::Kind::Scaling), ..Default::default() };
    let told = events::list(&house.connection(), wanted, None, 9).unwrap().entries.remove(0);
    assert_eq!(
        (told.session, told.server.as_deref(), told.client.as_deref()),
        (None, Some("files"), Some("codex"))
    );
}
