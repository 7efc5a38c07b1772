//! A broker as clouds run it: TLS, users with passwords (SCRAM-SHA-256 or PLAIN), and ACLs without which a user may neither read nor
//! write. The plain listener stays, for the operator, who may do everything.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{ports, progress::quietly, secrets, tools};

/// The password of the keystore, which contains only a certificate of this run.
const STORE_PASSWORD: &str = "of-this-run";

/// The authenticated listeners of a guarded broker.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The port for users with TLS.
    pub tls_port: u16,
    /// The port for the same users without TLS.
    pub port: u16,
    /// The certificate to trust, as PEM.
    pub certificate: PathBuf,
    /// Names and passwords: `punctual` for the daprds of the functions, `visitor` for anyone else.
    pub users: [(&'static str, String); 2],
}

impl Guard {
    pub(super) fn new(data: &Path) -> anyhow::Result<Self> {
        let keytool =
            tools::require("keytool", "a Java runtime, 17 or newer (Debian: apt-get install openjdk-17-jre-headless)")?;
        let store = store(data);
        let common = ["-alias", "kafka", "-storetype", "PKCS12", "-storepass", STORE_PASSWORD, "-keystore"];
        let key = ["-keyalg", "EC", "-groupname", "secp256r1", "-validity", "3650", "-dname", "CN=kafka"];
        let made = Command::new(&keytool)
            .arg("-genkeypair")
            .args(common)
            .arg(&store)
            .args(key)
            .args(["-ext", "san=ip:127.0.0.1"])
            .output();
        anyhow::ensure!(made?.status.success(), "keytool cannot create {}", store.display());
        let certificate = data.join("certificate.pem");
        fs::write(
            &certificate,
            quietly(Command::new(keytool).args(["-exportcert", "-rfc"]).args(common).arg(&store))?,
        )?;
        let users = [("punctual", secrets::random()?), ("visitor", secrets::random()?)];
        Ok(Self { tls_port: ports::free(), port: ports::free(), certificate, users })
    }

    /// The password of a user.
    ///
    /// # Panics
    /// When there is no such user.
    #[must_use]
    pub fn password(&self, user: &str) -> &str {
        let found = self.users.iter().find(|(name, _)| *name == user);
        &found.unwrap_or_else(|| panic!("there is no user {user}")).1
    }

    /// The additional `listeners`, and their protocols.
    pub(super) fn listeners(&self) -> (String, &'static str) {
        let Self { tls_port, port, .. } = self;
        (format!(",USERS://127.0.0.1:{port},CLOUD://127.0.0.1:{tls_port}"), ",USERS:SASL_PLAINTEXT,CLOUD:SASL_SSL")
    }

    pub(super) fn properties(&self, data: &Path) -> String {
        let known: String = self.users.iter().map(|(name, password)| format!(" user_{name}=\"{password}\"")).collect();
        let modules = ["users", "cloud"].map(|listener| {
            format!(
                "listener.name.{listener}.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
                 listener.name.{listener}.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required{known};\n"
            )
        });
        format!(
            "sasl.enabled.mechanisms=SCRAM-SHA-256,PLAIN\n\
             {}\
             ssl.keystore.type=PKCS12\n\
             ssl.keystore.location={}\n\
             ssl.keystore.password={STORE_PASSWORD}\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             allow.everyone.if.no.acl.found=false\n\
             super.users=User:ANONYMOUS\n",
            modules.concat(),
            store(data).display()
        )
    }

    /// The arguments that add the users to SCRAM when the storage is formatted.
    pub(super) fn scram(&self) -> Vec<String> {
        let users = self.users.iter();
        users
            .flat_map(|(name, password)| {
                ["--add-scram".to_owned(), format!("SCRAM-SHA-256=[name={name},password={password}]")]
            })
            .collect()
    }
}

fn store(data: &Path) -> PathBuf {
    data.join("kafka.p12")
}
