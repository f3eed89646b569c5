/* tests/shard/request_test.c - requests on whole shards: waiting for loads, joining the log, refusals, and that everybody is answered
 * exactly once, whatever fails. */
#include "shard_fixture.h"
#include "shard/records.h"
#include "shard/shard_internal.h"
#include <criterion/criterion.h>

TestSuite(request, .fini = rig_close);

static enum error look_up(uint64_t actor_id, uint64_t user_id)
{
    Ringpost__V1__PresenceRequest in = RINGPOST__V1__PRESENCE_REQUEST__INIT;
    in.user_ids = &user_id;
    in.n_user_ids = 1;
    struct actor_record actor = rig_actor(actor_id, "phone");
    return rig_call(&actor, 0, 0, "/v1/presence/get", &in.base);
}

/* ---- ids that do not exist yet ---- */

Test(request, an_id_asked_for_before_it_is_given_is_given_all_the_same)
{
    rig_begin(1);
    rig_open();
    uint64_t alice = rig_add_user(0, "alice"), next = alice + 1;
    cr_expect_eq(look_up(alice, next), ERROR_NONE, "nobody is told as nobody");
    cr_expect_eq(rig_say(alice, next, "1", "hello?"), ERROR_USER_NOT_FOUND);
    cr_expect_eq(rig_add_user(0, "bob"), next);
    cr_expect_eq(rig_say(alice, next, "1", "hello!"), ERROR_NONE);
}
