//! Keys and certificates, made by the openssl of the machine.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// Where the files are that are not made.
pub(super) const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/outside/openssl");

/// A certificate to make: `<name>.pem`, and `<name>.key` (PKCS #8).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    name: String,
    /// Arguments of `openssl req`.
    key: String,
    /// DNS names in it, besides the address.
    #[serde(default)]
    names: usize,
    #[serde(default)]
    self_signed: bool,
}

/// Runs openssl with words as they would be typed; in the folder of the files.
pub(super) fn openssl(pki: &Path, arguments: &str) {
    let arguments = arguments.replace("{here}", HERE);
    let tried = Command::new("openssl").args(arguments.split_whitespace()).current_dir(pki).output();
    let output = tried.unwrap_or_else(|error| {
        panic!("openssl does not start ({error}): it is Debian's package openssl, and part of every system")
    });
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {told}");
}

/// Whether this openssl can speak a cipher, however weak.
pub(super) fn has_cipher(pki: &Path, name: &str) -> bool {
    let arguments = ["ciphers", "-s", "-tls1_2", &format!("{name}:@SECLEVEL=0")];
    Command::new("openssl").args(arguments).current_dir(pki).output().unwrap().status.success()
}

/// Makes the authority and all certificates, and what else is read from files.
pub(super) fn make(pki: &Path, certificates: &[Certificate]) {
    let authority = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout authority.key -out authority.pem";
    request(pki, "an authority", "basicConstraints = critical,CA:TRUE", authority);
    for certificate in certificates {
        make_one(pki, certificate);
    }
    openssl(pki, "rsa -in client-rsa.key -traditional -out client-rsa.pkcs1");
    openssl(pki, "ec -in client.key -out client.sec1");
    for (file, begin) in
        [("client-rsa.pkcs1", "BEGIN RSA PRIVATE KEY"), ("client.sec1", "BEGIN EC PRIVATE KEY")]
    {
        assert!(std::fs::read_to_string(pki.join(file)).unwrap().contains(begin), "{file}");
    }
    openssl(pki, "ocsp -issuer authority.pem -cert ec.pem -reqout ec.question");
    std::fs::write(pki.join("index"), "").unwrap();
    openssl(
        pki,
        "ocsp -index index -CA authority.pem -rsigner authority.pem -rkey authority.key -reqin ec.question \
         -respout ec.ocsp -ndays 1",
    );
}

/// Makes one certificate; the authority is there.
pub(super) fn make_one(pki: &Path, certificate: &Certificate) {
    let Certificate { name, key, names, self_signed } = certificate;
    // Short ones: what counts is how many.
    let names: String = (0..*names).map(|n| format!("DNS.{n} = n{n}.x\n")).collect();
    let extensions = format!("subjectAltName = @names\n[names]\nIP = 127.0.0.1\n{names}");
    let issuer = if *self_signed { "" } else { "-CA authority.pem -CAkey authority.key" };
    // A new key is written, a given one is taken along.
    let keyout = if key.contains("-newkey") { format!("-keyout {name}.key") } else { String::new() };
    request(pki, name, &extensions, &format!("{key} {issuer} {keyout} -out {name}.pem"));
    if keyout.is_empty() {
        let given = key.split(' ').next_back().unwrap().replace("{here}", HERE);
        std::fs::copy(given, pki.join(format!("{name}.key"))).unwrap();
    }
}

/// Makes a certificate for a name. By openssl's own configuration each would be marked as an authority's.
fn request(pki: &Path, common_name: &str, extensions: &str, arguments: &str) {
    let text = format!(
        "[req]\ndistinguished_name = subject\nprompt = no\nx509_extensions = extensions\n\
         [subject]\nCN = {common_name}\n[extensions]\n{extensions}\n"
    );
    std::fs::write(pki.join("request.cnf"), text).unwrap();
    openssl(pki, &format!("req -x509 -config request.cnf -nodes -days 30 {arguments}"));
}
