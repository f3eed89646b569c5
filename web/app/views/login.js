// app/views/login.js - registering and logging in.
import { $, onSubmit, setText } from "../dom.js";
import { post } from "../http.js";
import { Session } from "../session.js";

const NAME = /^[a-z0-9_.-]{1,32}$/;
const PASSWORD_BYTES_MIN = 8;

const REASONS = {
  revoked: "This device was logged out.",
  logged_out: "You are logged out.",
  expired: "Your session has ended. Please log in again.",
};

// Shows the form; `onLogin(session)` runs once.
export function showLogin(reason, onLogin) {
  document.body.dataset.view = "login";
  document.title = "Ringpost";
  const notice = REASONS[reason];
  $("login-notice").hidden = !notice;
  setText($("login-notice"), notice ?? "");
  let registering = false;

  const show = () => {
    $("login-display-field").hidden = !registering;
    setText($("login-lead"), registering ? "Choose a name that others can find you by." : "Log in to your conversations.");
    setText($("login-submit"), registering ? "Create the account" : "Log in");
    setText($("login-switch-text"), registering ? "Already here?" : "New here?");
    setText($("login-switch"), registering ? "Log in" : "Create an account");
    $("login-password").autocomplete = registering ? "new-password" : "current-password";
    $("login-error").hidden = true;
    $("login-name").focus();
  };
  $("login-switch").addEventListener("click", () => {
    registering = !registering;
    show();
  });
  onSubmit($("login-form"), $("login-error"), async () => {
    const name = $("login-name").value.trim().toLowerCase();
    const password = $("login-password").value;
    check(name, password, registering);
    if (registering) await post("account/register", { name, password, display_name: $("login-display-name").value.trim() });
    onLogin(await Session.login(name, password, $("login-remember").checked));
    $("login-password").value = "";
  });
  show();
}

// What the server would refuse anyway, said in the words of this form.
function check(name, password, registering) {
  if (name === "") throw new Error("Please enter your name.");
  if (password === "") throw new Error("Please enter your password.");
  if (!registering) return;
  if (!NAME.test(name)) throw new Error("A name has 1 to 32 letters a-z, digits, dots, hyphens or underscores.");
  if (new TextEncoder().encode(password).length < PASSWORD_BYTES_MIN) throw new Error("A password needs at least 8 characters.");
}
