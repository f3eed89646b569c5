/* Two tables tell why something is refused: api/error.h for methods, net/http.h for what never becomes one. Where both have a reason
 * they must agree, and the second's own reasons must be as usable. */
#include "api/error.h"
#include "net/http.h"
#include <criterion/criterion.h>

static const struct {
    const char *code, *reason;
    uint16_t status;
} refusals[] = {
#define AS_ROW(name, status, code, reason, message) {code, reason, status},
    HTTP_REFUSAL_LIST(AS_ROW)
#undef AS_ROW
};

Test(error_rows, the_refusals_of_http_agree_with_the_reasons_of_methods)
{
    for (uint32_t i = 0; i < HTTP_REFUSAL_COUNT; i++) {
        cr_expect_eq(strspn(refusals[i].reason, "abcdefghijklmnopqrstuvwxyz_"), strlen(refusals[i].reason));
        for (uint32_t e = 1; e < ERROR_COUNT; e++) {
            const struct error_row *row = error_row((enum error)e);
            if (strcmp(row->reason, refusals[i].reason) != 0) continue;
            cr_expect_str_eq(row->code, refusals[i].code, "%s", row->reason);
            cr_expect_eq(row->status, refusals[i].status, "%s", row->reason);
            char body[HTTP_ERROR_BODY_SIZE_MAX];
            struct http_response response = http_refusal_response((enum http_refusal)i, body);
            const char *retryable = row->retryable ? "\"retryable\":true" : "\"retryable\":false";
            cr_expect(strstr((const char *)response.body.data, retryable) != NULL, "%s", row->reason);
        }
    }
}
