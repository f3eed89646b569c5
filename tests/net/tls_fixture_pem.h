/* tests/net/tls_fixture_pem.h - certificates of localhost and 127.0.0.1, signed by themselves, with keys that guard nothing.
 * Made once: valid from 2020 to 2120 unless the name says otherwise. */
#ifndef TESTS_NET_TLS_FIXTURE_PEM_H
#define TESTS_NET_TLS_FIXTURE_PEM_H

/* clang-format off */
static const char fixture_certificate[] __attribute__((unused)) =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBWjCCAQGgAwIBAgIUcnQmG0fezLHV7H5ke3xBWYaJ4jEwCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAx\n"
    "MDAwMDAwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO\n"
    "PQMBBwNCAASS7KX4CeZvQBCn7maBCaWmH0AROK1j7vEz6vNIgTPxSwJWEekfNG6t\n"
    "DV6CkMwNrnUR3btmRj93+caQ03YuBxuNoy8wLTAaBgNVHREEEzARgglsb2NhbGhv\n"
    "c3SHBH8AAAEwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiA08IvA\n"
    "bRT/J04Y7K2qXsa+AJups3xYjF7WSKyK0wA0lgIgUjx21WXk+ZNf6kKljD/xMQ46\n"
    "UI/7PRci56Vci+xboG4=\n"
    "-----END CERTIFICATE-----\n";

static const char fixture_key[] __attribute__((unused)) =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgs/deR15vHi4/9pS1\n"
    "w5kLzsceZUHASyn2W22UOwunLEuhRANCAASS7KX4CeZvQBCn7maBCaWmH0AROK1j\n"
    "7vEz6vNIgTPxSwJWEekfNG6tDV6CkMwNrnUR3btmRj93+caQ03YuBxuN\n"
    "-----END PRIVATE KEY-----\n";

static const char fixture_certificate_other[] __attribute__((unused)) =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBWzCCAQGgAwIBAgIUXpOiV41H86dXpWzydzq3x5bVI4wwCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAx\n"
    "MDAwMDAwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO\n"
    "PQMBBwNCAARoFmaWawGDsVKYHlGkf+0IDZAgrZ5pyOtxLFmAEFMvJzOp1mZ6XhAo\n"
    "64eoY3lHqxBy+duM1elzLMMXCgLdUaHNoy8wLTAaBgNVHREEEzARgglsb2NhbGhv\n"
    "c3SHBH8AAAEwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiBcTug2\n"
    "vkBhZ/3eu0IRst0eyyIDFt+Cr5pTaLyPhQtSSgIhAIQrFaSXBrqGv/v/qn22P8Uo\n"
    "7skhVrAL3QNDUX6+f7+V\n"
    "-----END CERTIFICATE-----\n";

static const char fixture_key_other[] __attribute__((unused)) =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg05FRegzugiNblGU6\n"
    "xhdmweG7GPDgJuJaWf/0tJt7qIKhRANCAARoFmaWawGDsVKYHlGkf+0IDZAgrZ5p\n"
    "yOtxLFmAEFMvJzOp1mZ6XhAo64eoY3lHqxBy+duM1elzLMMXCgLdUaHN\n"
    "-----END PRIVATE KEY-----\n";

static const char fixture_certificate_expired[] __attribute__((unused)) =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBVzCB/6ADAgECAhQ3/dWqSzsTYcshR8X83iKDhsrs7zAKBggqhkjOPQQDAjAU\n"
    "MRIwEAYDVQQDDAlsb2NhbGhvc3QwHhcNMjAwMTAxMDAwMDAwWhcNMjEwMTAxMDAw\n"
    "MDAwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMB\n"
    "BwNCAASS7KX4CeZvQBCn7maBCaWmH0AROK1j7vEz6vNIgTPxSwJWEekfNG6tDV6C\n"
    "kMwNrnUR3btmRj93+caQ03YuBxuNoy8wLTAaBgNVHREEEzARgglsb2NhbGhvc3SH\n"
    "BH8AAAEwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiAb6u8fpGYI\n"
    "W3p+Z0BXUsk49pJElDxGgr+fSFWW2QCf9gIgLgYWZQeizmNDVcpXmdNoqHt++KGe\n"
    "yX8klOEroyIhccQ=\n"
    "-----END CERTIFICATE-----\n";

static const char fixture_certificate_future[] __attribute__((unused)) =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBXTCCAQOgAwIBAgIUCzbphl3pVFzQoetB0TXtkQd/GH0wCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJbG9jYWxob3N0MCIYDzIxMTAwMTAxMDAwMDAwWhgPMjEyMDAx\n"
    "MDEwMDAwMDBaMBQxEjAQBgNVBAMMCWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqG\n"
    "SM49AwEHA0IABJLspfgJ5m9AEKfuZoEJpaYfQBE4rWPu8TPq80iBM/FLAlYR6R80\n"
    "bq0NXoKQzA2udRHdu2ZGP3f5xpDTdi4HG42jLzAtMBoGA1UdEQQTMBGCCWxvY2Fs\n"
    "aG9zdIcEfwAAATAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQCb\n"
    "KpMnwwmHQqEUsvBnuyFuLb6XBWGzOjRrNP7NQtgDPAIgVXbxX3EhaYOMxVGclYu6\n"
    "ofqJH2OJsGxN8odFTBuxdVY=\n"
    "-----END CERTIFICATE-----\n";

static const char fixture_key_encrypted[] __attribute__((unused)) =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
    "MIH0MF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBCu2l/mMfZvN3i9lstA\n"
    "3Xd1AgIIADAMBggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQ737F4N1kkziFeziX\n"
    "h0VnmwSBkGZF8kTEIr1jAyxKmvdPp+n97FpjZOXXWh60aY3eCb/8OXBvgoRe5Hy+\n"
    "OXR2YTVBEmHOckD8Yr7CPESvaEHggBOE84ZyQsP0OijLlrEjZjs9coniRzvX6zBP\n"
    "cxUZCro4yeOoPrP8rAZEfoigujThNDS2+q7/G7z8ZbPj4BgJF84aAyLZSlrFB2Ut\n"
    "qr3p67fdyQ==\n"
    "-----END ENCRYPTED PRIVATE KEY-----\n";

/* clang-format on */

#endif
