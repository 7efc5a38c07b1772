//! The parts that functions on Lambda need, shared by all tests, and their restoration after a fault.

use std::{
    fs,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use lab::{
    api::{Api, User},
    dapr::{self, Application, Plane, Scheduler, Sidecar, SidecarPorts},
    dev,
    kafka::{Kafka, topics},
    ports,
    postgres::{self, Postgres},
    process::{Process, Program, Run},
    secrets,
    topology::target_dir,
};
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::{
    runtime_api::{Outcome, RuntimeApi},
    sources, template,
};

/// The limit for work that needs no fault repaired, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime"));
static HOST: LazyLock<Mutex<LambdaHost>> =
    LazyLock::new(|| Mutex::new(RUNTIME.block_on(async { LambdaHost::start().expect("the host starts") })));

/// Runs a test and restores every part after it, even if it failed.
pub(crate) fn on_lambda(test: impl AsyncFnOnce(&LambdaHost)) {
    let host = HOST.lock().unwrap_or_else(PoisonError::into_inner);
    let _restored = Restore(&host);
    RUNTIME.block_on(test(&host));
}

/// All parts except the functions.
pub(crate) struct LambdaHost {
    run: Run,
    _scheduler: Scheduler,
    kafka: Kafka,
    /// The daprd of every function but `reminder-due`.
    pub(crate) daprd: Sidecar,
    reminder_due_daprd: Sidecar,
    pub(crate) postgres: Postgres,
    pub(crate) db: PgPool,
    api: Api,
    pub(crate) app_api_token: String,
    dapr_api_token: String,
    reminder_due_dapr_api_token: String,
    jwt_secret: String,
}

impl LambdaHost {
    fn start() -> anyhow::Result<Self> {
        let run = Run { dir: dev().join("lambda"), detached: false };
        fs::create_dir_all(&run.dir)?;
        let lock = fs::File::create(run.dir.join("lock"))?;
        lock.lock()?; // a second run of these tests would delete this one's data
        std::mem::forget(lock);
        postgres::wipe(&run.dir)?;
        let _ = fs::remove_dir_all(run.dir.join("scheduler"));
        let _ = fs::remove_dir_all(run.dir.join("log"));

        let binaries = dapr::binaries()?;
        // One partition each: Lambda does not care.
        let kafka = Kafka::launch(&run, &shared::catalogue::TOPICS.map(|topic| (topic.name.to_owned(), 1)))?;
        let postgres = Postgres::launch(&run)?;
        postgres.create_database("punctual")?;
        let migrate = Program::new("migrate", target_dir().join("debug/migrate"));
        let migrate = Process::spawn(&run, migrate.env("DATABASE_URL", postgres.url("punctual")))?;
        while migrate.pid().is_some() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let scheduler = Scheduler::launch(&run, &binaries, None)?;
        scheduler.wait_ready()?;

        let [app_api_token, dapr_api_token, reminder_due_dapr_api_token] =
            [secrets::random()?, secrets::random()?, secrets::random()?];
        let secrets_file = run.dir.join("secrets.json");
        fs::write(&secrets_file, "{}")?;
        let plane = |token: &str| Plane {
            daprd: binaries.daprd.clone(),
            // No subscriptions: on Lambda, event source mappings deliver events.
            resources: vec!["pubsub/kafka", "statestore/in-memory", "local"],
            scheduler: scheduler.port,
            env: [
                ("APP_API_TOKEN", app_api_token.clone()),
                ("DAPR_API_TOKEN", token.to_owned()),
                ("KAFKA_BROKERS", kafka.brokers()),
                ("SECRETS_FILE", secrets_file.display().to_string()),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        };
        let launch = |id: &str, token| {
            // Nothing listens on this port: the tests deliver jobs themselves.
            let application = Application { id: id.to_owned(), port: ports::free() };
            Sidecar::launch(&run, &plane(token), &application, SidecarPorts::free())
        };
        let daprd = launch("upkeep", &dapr_api_token)?;
        let reminder_due_daprd = launch("reminder-due", &reminder_due_dapr_api_token)?;
        for daprd in [&daprd, &reminder_due_daprd] {
            daprd.wait_callable(SOON)?;
        }
        let db = PgPoolOptions::new().max_connections(10).connect_lazy(&postgres.url("punctual"))?;
        // Requests arrive as invocations, not at a URL; this API only makes users.
        let jwt_secret = secrets::random()?;
        let api = Api::at(["http://127.0.0.1:9".to_owned()], &jwt_secret);
        Ok(Self {
            run,
            _scheduler: scheduler,
            kafka,
            daprd,
            reminder_due_daprd,
            postgres,
            db,
            api,
            jwt_secret,
            app_api_token,
            dapr_api_token,
            reminder_due_dapr_api_token,
        })
    }

    /// Starts a process of a function and waits until it asks for an invocation.
    pub(crate) async fn function(&self, name: &str) -> Function {
        self.function_of(self.program(name)).await
    }

    pub(crate) async fn function_of(&self, program: Program) -> Function {
        let api = RuntimeApi::start().await;
        let process = self.spawn(program.env("AWS_LAMBDA_RUNTIME_API", api.address.clone()));
        let function = Function { process: Arc::new(process), api };
        function.api.asked().await;
        function
    }

    pub(crate) fn spawn(&self, program: Program) -> Process {
        Process::spawn(&self.run, program).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// A function with exactly the variables that the template and Lambda set.
    pub(crate) fn program(&self, name: &str) -> Program {
        let binary = target_dir().join("debug").join(name);
        assert!(binary.exists(), "{} is not built: cargo build --workspace --bins", binary.display());
        let mut program = Program::new(name, binary)
            .env("AWS_LAMBDA_FUNCTION_NAME", format!("punctual-{name}"))
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST");
        for variable in template::variables(name) {
            let value = match variable.as_str() {
                "DATABASE_URL" => self.postgres.url("punctual"),
                "DATABASE_CONNECTIONS" => "3".to_owned(),
                "DAPR_GRPC_ENDPOINT" => format!("http://127.0.0.1:{}", self.daprd_of(name).0.grpc_port),
                "DAPR_API_TOKEN" => self.daprd_of(name).1.to_owned(),
                "APP_API_TOKEN" => self.app_api_token.clone(),
                "JWT_SECRET" | "ACTION_KEY" => self.jwt_secret.clone(),
                "VAPID_PUBLIC_KEYS" => String::new(),
                "PAGE_URL" | "CORS_ORIGINS" => "https://page.punctual.test".to_owned(),
                "UPDATES_URL" => "https://live.punctual.test".to_owned(),
                "OIDC_ISSUER" => "https://id.punctual.test/".to_owned(),
                "OIDC_CLIENT_ID" => "page".to_owned(),
                "OIDC_SCOPE" => "openid email".to_owned(),
                "EMAIL_PROVIDER" => "resend".to_owned(),
                "EMAIL_FROM" => "Punctual <reminders@punctual.test>".to_owned(),
                other => panic!("the template sets {other}, which this test does not know"),
            };
            program = program.env(variable, value);
        }
        program
    }

    /// The daprd that a function calls, and its token.
    pub(crate) fn daprd_of(&self, function: &str) -> (&Sidecar, &str) {
        if function == "reminder-due" {
            (&self.reminder_due_daprd, &self.reminder_due_dapr_api_token)
        } else {
            (&self.daprd, &self.dapr_api_token)
        }
    }

    /// A new user.
    pub(crate) fn user(&self) -> User {
        self.api.user()
    }

    /// The result of a counting statement with one parameter.
    pub(crate) async fn count(&self, statement: &'static str, id: Uuid) -> i64 {
        sqlx::query_scalar(statement).bind(id).fetch_one(&self.db).await.expect("the database answers")
    }

    /// The published events of one type about a task: the bytes of each record.
    pub(crate) async fn on_topic(&self, kind: shared::catalogue::EventType, task: Uuid) -> Vec<Vec<u8>> {
        let kafka = topics::connect(&self.kafka.brokers()).await.expect("Kafka answers");
        let partitions = topics::partitions(&kafka, kind.topic()).await.expect("the topic exists");
        let records = topics::read(&partitions[0]).await.expect("Kafka answers");
        let mut found: Vec<Vec<u8>> = records.into_iter().filter_map(|record| record.value).collect();
        found.retain(|value| {
            let event: Value = serde_json::from_slice(value).unwrap_or_default();
            event["type"] == kind.as_str() && event["subject"] == json!(task)
        });
        found
    }

    /// Makes the user's inserts into `audit_logs` fail, with an error that is not an outage.
    pub(crate) fn break_for(&self, user: &User) {
        let when = format!(
            "create function broken_for_a_while() returns trigger language plpgsql as
             $$ begin raise exception 'broken for a while'; end $$;
             create trigger broken before insert on audit_logs for each row when (new.user_id = '{}')
             execute function broken_for_a_while()",
            user.id
        );
        self.postgres.sql("punctual", &when).expect("the database answers");
    }

    pub(crate) fn mend(&self) {
        self.postgres.sql("punctual", "drop function if exists broken_for_a_while cascade").expect("an answer");
    }
}

/// Restores every part when dropped.
struct Restore<'a>(&'a LambdaHost);

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        let host = self.0;
        for process in [&host.postgres.process, &host.daprd.process] {
            process.resume();
        }
        let restored = host.postgres.start().and_then(|()| host.daprd.process.start());
        if let Err(error) = restored.and_then(|()| host.daprd.wait_callable(SOON)) {
            eprintln!("the host could not be restored: {error:#}");
        }
        host.mend();
    }
}

/// A process of a function and its Runtime API. Dropping it kills the process.
pub(crate) struct Function {
    pub(crate) process: Arc<Process>,
    pub(crate) api: RuntimeApi,
}

impl Function {
    /// Invokes it and lets it continue. Returns whether it acknowledged, and its response or error.
    pub(crate) async fn invoke(&self, event: Value) -> (bool, Value) {
        let Outcome { acknowledged, body, .. } = self.api.invoke(event).await;
        (acknowledged, body)
    }

    /// A request through an HTTP API.
    pub(crate) async fn request(&self, user: &User, method: &str, path: &str, body: Option<Value>) -> Answer {
        let headers = [("authorization", &*bearer(user))];
        self.answer(sources::http_api(method, path, "", &headers, body.as_ref())).await
    }

    /// The answer to a request.
    pub(crate) async fn answer(&self, event: Value) -> Answer {
        let (acknowledged, response) = self.invoke(event).await;
        assert!(acknowledged, "an HTTP request is answered, not failed: {response}");
        Answer::of(&response)
    }

    /// Creates a task and returns it.
    pub(crate) async fn create(&self, user: &User, task: Value) -> Value {
        let answer = self.request(user, "POST", "/v1/tasks", Some(task)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body
    }
}

/// An HTTP API's translation of a response in format 2.0.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u64,
    pub(crate) headers: Value,
    pub(crate) text: String,
    /// The body, if it is JSON.
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn of(response: &Value) -> Self {
        let body = response["body"].as_str().unwrap_or_default();
        let text = if response["isBase64Encoded"] == true {
            String::from_utf8(BASE64_STANDARD.decode(body).expect("base64")).expect("text")
        } else {
            body.to_owned()
        };
        let status = response["statusCode"].as_u64().unwrap_or_else(|| panic!("{response} is no response"));
        Self {
            status,
            headers: response["headers"].clone(),
            body: serde_json::from_str(&text).unwrap_or_default(),
            text,
        }
    }
}

/// The value of `Authorization` for a user.
pub(crate) fn bearer(user: &User) -> String {
    format!("Bearer {}", user.token)
}
