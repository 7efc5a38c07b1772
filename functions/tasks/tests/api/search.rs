//! `q` finds what a person sees, in every script, whatever the locale of the database.

use sqlx::Connection as _;

use super::*;

/// Titles, and words that find them and no other title.
const TITLES: [(&str, &[&str]); 24] = [
    ("milk/eggs", &["eggs", "MILK", "k/e"]),
    ("Alpha/Beta", &["beta", "alpha/"]),
    ("foo.png", &["foo", "png"]),
    ("call.Bob", &["bob", "call"]),
    ("ask carol@mail.test", &["carol", "mail.test"]),
    ("read https://shop.test/path?x=1", &["path", "shop", "x=1"]),
    ("edit /etc/hosts", &["hosts", "/etc"]),
    ("on 2024-01-15", &["2024", "01-15"]),
    ("100-200 pieces", &["200"]),
    ("v1.2.3", &["1.2", "2.3"]),
    ("ÄPFEL", &["äpfel", "ÄPF"]),
    ("МОЛОКО", &["молоко", "МОЛОКО"]),
    ("ΣΊΣΥΦΟΣ", &["σίσυφος", "Σίσυφος", "σίσ"]),
    ("Straße", &["STRASSE", "straße"]),
    ("İZMİR", &["izmir", "İzmir"]),
    ("明天会议", &["会议", "明天"]),
    ("ประชุมพรุ่งนี้", &["พรุ่งนี้"]),
    ("résume\u{301}", &["RÉSUMÉ", "re\u{301}s"]),
    ("50% off", &["%", "50%"]),
    ("snake_case", &["_", "e_c"]),
    (r"C:\temp", &[r"\", r"c:\t"]),
    ("'; drop table", &["';", "drop"]),
    ("two  words", &["words two", "two words"]),
    ("smi\u{ad}ley ❤\u{fe0f}", &["smiley", "❤"]),
];

/// Runs a test on this database, on one without any locale, and on one that has the rules of a language.
async fn on_every_locale<Test: Future<Output = ()>>(db: &PgPool, test: impl Fn(PgPool) -> Test) {
    test(db.clone()).await;
    let options = db.connect_options();
    let mut admin = sqlx::PgConnection::connect_with(&options).await.unwrap();
    for locale in ["locale 'C'", "locale_provider icu icu_locale 'de-AT' locale 'C.UTF-8'"] {
        let name = format!("_sqlx_test_{}", Uuid::new_v4().simple());
        let create = format!("create database \"{name}\" template template0 encoding 'UTF8' {locale}");
        sqlx::query(sqlx::AssertSqlSafe(create)).execute(&mut admin).await.unwrap();
        let other = PgPool::connect_lazy_with(options.as_ref().clone().database(&name));
        migrations::MIGRATOR.run(&other).await.unwrap();
        test(other.clone()).await;
        other.close().await;
        sqlx::query(sqlx::AssertSqlSafe(format!("drop database \"{name}\""))).execute(&mut admin).await.unwrap();
    }
}

async fn found(client: &Client, words: &str) -> Vec<String> {
    let escaped: String = words.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let page = client.get(&format!("/v1/tasks?q={escaped}&limit=100")).await.expect(200);
    page["items"].as_array().unwrap().iter().map(|task| task["title"].as_str().unwrap().to_owned()).collect()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_search_finds_every_visible_word_in_every_locale(db: PgPool) {
    on_every_locale(&db, async |db| {
        let ada = Client::new(&db);
        let mut tasks = Vec::new();
        for (title, _) in TITLES {
            tasks.push(ada.task(json!({"title": title})).await["title"].as_str().unwrap().to_owned());
        }
        for (task, (_, words)) in tasks.iter().zip(TITLES) {
            for word in words {
                assert_eq!(found(&ada, word).await, std::slice::from_ref(task), "{word}");
            }
        }
        let task = ada.task(json!({"title": "Title", "description": "First DESCRIPTION", "tags": ["hidden"]})).await;
        for (words, count) in
            [("description", 1), ("title first", 1), ("titlefirst", 0), ("title second", 0), ("hidden", 0)]
        {
            assert_eq!(found(&ada, words).await.len(), count, "{words}");
        }
        ada.patch(&path(&task), json!({"description": "SECOND"})).await.expect(200);
        assert_eq!((found(&ada, "second").await.len(), found(&ada, "first").await.len()), (1, 0));
    })
    .await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_search_matches_exact_letters_until_the_search_text_is_filled(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "old"})).await;
    let missing = async || {
        let missing = sqlx::query_scalar("select search_text is null from tasks where id = $1").bind(id(&task));
        missing.fetch_one(&db).await.unwrap()
    };
    // A command sets it, also if only the case of letters changes.
    for (title, word) in [("New", "NEW"), ("NEW", "new"), ("new", "New")] {
        ada.patch(&path(&task), json!({"title": title})).await.expect(200);
        let unset: bool = missing().await;
        assert!(!unset);
        assert_eq!(found(&ada, word).await, [title]);
    }
    ada.post(&format!("{}/complete", path(&task)), json!(null)).await.expect(200);
    assert!(!missing().await);
    // The Phase II application does not.
    let phase_two = "update tasks set title = 'Théâtre', description = null, updated_at = now() where id = $1";
    sqlx::query(phase_two).bind(id(&task)).execute(&db).await.unwrap();
    assert!(missing().await);
    assert_eq!(found(&ada, "Théâtre").await, ["Théâtre"]);
    assert_eq!(found(&ada, "new").await, Vec::<String>::new());
}

/// Texts and words that are compared letter by letter at every place of the text.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_search_that_takes_too_long_ends_and_delays_no_other_user(db: PgPool) {
    let router = router(&db);
    let (ada, ben) = (Client::new(&db), Client::new(&db));
    let (ada, ben) = (Client { router: router.clone(), ..ada }, Client { router, ..ben });
    for client in [&ada, &ben] {
        client.task(json!({"title": "b"})).await;
    }
    sqlx::query(
        "insert into tasks (user_id, title, search_text, created_at)
         select $1, 'a', repeat('a', 10000), now() + interval '1 hour' from generate_series(1, 1000)",
    )
    .bind(ada.user.id)
    .execute(&db)
    .await
    .unwrap();
    let began = std::time::Instant::now();
    let hostile = [format!("b{}", "a".repeat(499)), format!("c{}", "a".repeat(499))].map(|word| {
        let ada = ada.clone();
        tokio::spawn(async move { ada.get(&format!("/v1/tasks?q={word}")).await })
    });
    let running = async || -> i64 {
        let running = "select count(*) from pg_stat_activity
                       where datname = current_database() and pid <> pg_backend_pid() and state = 'active' and query like '%search_text%'";
        sqlx::query_scalar(running).fetch_one(&db).await.unwrap()
    };
    let mut most = 0;
    while most == 0 {
        most = running().await;
    }
    // Others search, and the user does everything else.
    assert_eq!(found(&ben, "B").await, ["b"]);
    ada.get("/v1/tasks?limit=1").await.expect(200);
    while !hostile.iter().all(tokio::task::JoinHandle::is_finished) {
        most = most.max(running().await);
    }
    assert_eq!(most, 1, "one search of a user at a time");
    for search in hostile {
        let reply = search.await.unwrap();
        assert_eq!(reply.headers["retry-after"], "2");
        assert_eq!(reply.expect(503)["type"], "urn:punctual:problem:search-timeout");
    }
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    ada.get("/v1/tasks?q=b&limit=1").await.expect(200);
}
