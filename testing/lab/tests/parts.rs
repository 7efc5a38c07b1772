//! Each part of a run by itself: it starts, supports the faults that tests inject, and starts again.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{IpAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};

use lab::{
    dapr::{self, Application, Plane, Scheduler, Sidecar, SidecarPorts},
    dev, http,
    kafka::{
        Kafka, Listeners,
        topics::{self, record},
    },
    mail::{self, Catcher},
    ports,
    postgres::{self, Postgres},
    process::{Process, Program, READY, Ready, Run},
    redis::Redis,
};

fn run(name: &str) -> Run {
    let dir = dev().join(format!("test-parts-{name}"));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    Run { dir, detached: false }
}

#[test]
fn postgres_keeps_committed_rows_when_it_is_killed() {
    let run = run("postgres");
    postgres::wipe(&run.dir).unwrap();
    let postgres = Postgres::launch(&run).unwrap();
    postgres.create_database("punctual").unwrap();
    postgres.create_database("punctual").unwrap();
    postgres.sql("punctual", "create table kept (n int); insert into kept values (7)").unwrap();
    postgres.process.kill9();
    assert!(postgres.sql("punctual", "select 1").is_err());
    postgres.start().unwrap();
    assert_eq!(postgres.sql("punctual", "select n from kept").unwrap().trim(), "7");
    assert_eq!(postgres.sql("punctual", "show max_connections").unwrap().trim(), "500");
    assert_eq!(postgres.sql("punctual", "show fsync").unwrap().trim(), "on");
    drop(postgres);
    postgres::wipe(&run.dir).unwrap();
}

/// A moved clock that PostgreSQL sees only outside signal handlers would make its timeouts end minutes early or late.
#[test]
fn postgres_keeps_its_timeouts_by_a_clock_that_is_ahead() {
    let run = run("clock");
    postgres::wipe(&run.dir).unwrap();
    let postgres = Postgres::launch_with(&run, None, 120).unwrap();
    let answer = postgres.sql("postgres", "select extract(epoch from clock_timestamp())").unwrap();
    let ahead = answer.trim().parse::<f64>().unwrap() - UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((110.0..130.0).contains(&ahead), "{ahead}");
    let began = Instant::now();
    assert!(postgres.sql("postgres", "set statement_timeout = '200ms'; select pg_sleep(20)").is_err());
    assert!(began.elapsed() < Duration::from_secs(10));
    drop(postgres);
    postgres::wipe(&run.dir).unwrap();
}

/// If we are root, PostgreSQL runs as another user, who cannot enter a checkout in root's home.
#[test]
fn postgres_starts_below_a_folder_that_other_users_cannot_enter() {
    let run = run("closed/below");
    fs::set_permissions(dev().join("test-parts-closed"), fs::Permissions::from_mode(0o700)).unwrap();
    postgres::wipe(&run.dir).unwrap();
    let postgres = Postgres::launch(&run).unwrap();
    assert_eq!(postgres.sql("postgres", "select 1").unwrap().trim(), "1");
    drop(postgres);
    postgres::wipe(&run.dir).unwrap();
    fs::remove_dir_all(dev().join("test-parts-closed")).unwrap();
}

/// Sends a message; returns the answers to RCPT and to the final dot. An empty answer means a closed connection.
fn send(port: u16) -> (String, String) {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(READY)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut say = |line: &str| {
        (&stream).write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        while answer.is_empty() || answer.as_bytes().get(3) == Some(&b'-') {
            answer.clear();
            if answers.read_line(&mut answer).unwrap_or(0) == 0 {
                break;
            }
        }
        answer.trim().to_owned()
    };
    assert!(say("").starts_with("220"));
    assert!(say("EHLO test\r\n").starts_with("250"));
    assert!(say("MAIL FROM:<a@example.com>\r\n").starts_with("250"));
    let recipient = say("RCPT TO:<b@example.com>\r\n");
    if !recipient.starts_with("250") {
        return (recipient, String::new());
    }
    assert!(say("DATA\r\n").starts_with("354"));
    (recipient, say("Subject: hello\r\n\r\nworld\r\n.\r\n"))
}

#[test]
fn the_smtp_server_accepts_refuses_and_drops_as_ordered() {
    let run = run("smtp");
    let mail_dir = run.dir.join("mail");
    let catcher = Catcher::launch(&run, &mail_dir).unwrap();
    catcher.process.wait_ready(READY).unwrap();
    let kept = || mail::messages(&mail_dir).len();

    assert!(send(catcher.port).1.starts_with("250"));
    assert_eq!(kept(), 1);
    assert_eq!(mail::messages(&mail_dir)[0].header("subject").as_deref(), Some("hello"));

    catcher.order("rcpt 550 1").unwrap();
    assert!(send(catcher.port).0.starts_with("550"));
    catcher.order("data 450 2").unwrap();
    assert!(send(catcher.port).1.starts_with("450"));
    assert!(send(catcher.port).1.starts_with("450"));
    assert_eq!(kept(), 1);
    catcher.order("drop 1").unwrap();
    assert_eq!(send(catcher.port).1, "");
    assert_eq!(kept(), 1);
    catcher.order("accept-drop 1").unwrap();
    assert_eq!(send(catcher.port).1, "");
    assert_eq!(kept(), 2);
    assert!(send(catcher.port).1.starts_with("250"));
    assert_eq!(kept(), 3);
}

#[test]
fn kafka_creates_topics_with_their_partitions_and_deletes_them() {
    let run = run("kafka");
    let kafka = Kafka::launch(&run, &[("task-events".into(), 6), ("reminders".into(), 12)]).unwrap();
    let partitions = || {
        let entries = fs::read_dir(run.dir.join("kafka/log")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        // A deleted partition stays for a minute under a longer name.
        names.filter(|name| name.strip_prefix("reminders-").is_some_and(|number| number.parse::<u8>().is_ok())).count()
    };
    // The broker answers before the folders exist.
    let becomes = |wanted| {
        let deadline = Instant::now() + READY;
        while partitions() != wanted && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(partitions(), wanted);
    };
    becomes(12);
    kafka.create_topic("reminders", 1).unwrap();
    kafka.delete_topic("reminders").unwrap();
    kafka.create_topic("reminders", 3).unwrap();
    becomes(3);
    kafka.process.kill9();
    kafka.process.start().unwrap();
    kafka.process.wait_ready(READY).unwrap();
    kafka.create_topic("after-the-restart", 1).unwrap();
    becomes(3);
}

/// For pods of a cluster. Another loopback address stands in for a network address of this machine.
#[test]
fn servers_listen_on_the_address_for_pods_and_kafka_advertises_it() {
    let run = run("others");
    let others = IpAddr::from([127, 0, 0, 2]);
    postgres::wipe(&run.dir).unwrap();
    let postgres = Postgres::launch_for(&run, Some(others)).unwrap();
    let catcher = Catcher::launch_for(&run, &run.dir.join("mail"), Some(others)).unwrap();
    catcher.process.wait_ready(READY).unwrap();
    for port in [postgres.port, catcher.port] {
        TcpStream::connect((others, port)).unwrap();
    }
    let how = postgres.sql("postgres", "select auth_method from pg_hba_file_rules where address = 'all'").unwrap();
    assert_eq!(how.trim(), "scram-sha-256");

    let kafka = Kafka::launch_with(
        &run,
        &[("task-events".into(), 1)],
        Listeners { others: Some(others), ..Listeners::default() },
    )
    .unwrap();
    let at = kafka.others.unwrap();
    assert_eq!(at.ip(), others);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client = topics::connect(&at.to_string()).await.unwrap();
        let partitions = topics::partitions(&client, "task-events").await.unwrap();
        // Writing needs the leader at its advertised address.
        topics::append(&partitions[0], vec![record(None, b"x".to_vec())]).await.unwrap();
        assert_eq!(topics::read(&partitions[0]).await.unwrap().len(), 1);
    });
    drop((postgres, catcher, kafka));
    postgres::wipe(&run.dir).unwrap();
}

#[test]
fn redis_answers_a_ping() {
    let redis = Redis::launch(&run("redis")).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port)).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert_eq!(answer, "+PONG\r\n");
}

#[test]
fn a_daprd_becomes_ready_with_the_embedded_components_and_again_after_the_scheduler_lost_its_jobs() {
    let run = run("dapr");
    let binaries = dapr::binaries().unwrap();
    let scheduler = Scheduler::launch(&run, &binaries, None).unwrap();
    scheduler.wait_ready().unwrap();
    let application = Application { id: "punctual".into(), port: ports::free() };
    let listens = Program::new("application", "python3")
        .args(["-m", "http.server", "--bind", "127.0.0.1", &application.port.to_string()])
        .ready(Ready::Tcp(application.port));
    let listener = Process::spawn(&run, listens).unwrap();
    listener.wait_ready(READY).unwrap();
    let secrets = run.dir.join("secrets.json");
    fs::write(&secrets, "{}").unwrap();
    let plane = Plane {
        daprd: binaries.daprd,
        resources: vec!["pubsub/in-memory", "statestore/in-memory", "local"],
        scheduler: scheduler.port,
        env: vec![
            ("APP_API_TOKEN".into(), "app".into()),
            ("DAPR_API_TOKEN".into(), "dapr".into()),
            ("SECRETS_FILE".into(), secrets.display().to_string()),
        ],
    };
    let sidecar = Sidecar::launch(&run, &plane, &application, SidecarPorts::free()).unwrap();
    sidecar.process.wait_ready(READY).unwrap();
    assert_eq!(http::status(sidecar.http_port, "/v1.0/metadata").unwrap(), 401);
    scheduler.wipe().unwrap();
    sidecar.process.wait_ready(READY).unwrap();
}
