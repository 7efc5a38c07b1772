//! What the Helm chart and the workflows read.

use catalogue::{FUNCTIONS, INVOKED, REPAIRS};

use crate::{FROM_CATALOGUE, MARK, Manifest};

/// The functions, for the templates of the chart: what each has and is, and who calls whom.
pub(crate) fn catalogue() -> Manifest {
    let function = |function: &catalogue::Function| {
        let catalogue::Function { name, daprd, database, public, .. } = function;
        let authenticates = function.authenticates();
        let (invoked, repairs) = (*name == INVOKED, *name == REPAIRS);
        let [invokes, jobs, secrets] = ["invoke", "jobs", "secrets"].map(|api| function.offers(api));
        let address = public.map_or_else(String::new, |public| {
            format!("host: {}, paths: [{}], ", public.host, public.paths.join(", "))
        });
        format!(
            "{name}: {{ daprd: {daprd}, database: {database}, public: {}, {address}authenticates: {authenticates}, \
             invoked: {invoked}, invokes: {invokes}, jobs: {jobs}, secrets: {secrets}, repairs: {repairs} }}\n",
            public.is_some()
        )
    };
    Manifest::yaml("knative/chart/files/functions.yaml", &FUNCTIONS.iter().map(function).collect::<String>())
}

/// The images that are published, for the matrix of a workflow.
pub(crate) fn images() -> Manifest {
    let mut names: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).chain(["door", "migrate"]).collect();
    names.sort_unstable();
    let list = names.iter().map(|name| format!("    \"{name}\"")).collect::<Vec<_>>().join(",\n");
    let text = format!("{{ \"//\": \"{FROM_CATALOGUE} {MARK}\",\n  \"image\": [\n{list}\n  ]\n}}\n");
    Manifest { path: ".github/images.json".to_owned(), text }
}
