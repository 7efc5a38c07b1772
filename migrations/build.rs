//! Rebuilds the crate after a new migration, because `sqlx::migrate!` does not notice a new file.

fn main() {
    println!("cargo:rerun-if-changed=.");
}
