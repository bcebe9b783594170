/* A client that knows the topic state/catalogue and nothing else of the gateway; see client.py. It checks all keywords of JSON
 * Schema that the catalogue uses, except patterns and formats of strings.
 *
 * client PORT NUMBER
 */
#include <cjson/cJSON.h>
#include <mosquitto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct mosquitto *broker;
static char client[32];
static int number;

static void fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

/* The expected messages: wanted of them under filter. */
static const char *filter;
static cJSON *heard[8];
static int wanted, got, ready;

static void on_message(struct mosquitto *m, void *data, const struct mosquitto_message *message)
{
	bool match = false;
	(void)m, (void)data;
	mosquitto_topic_matches_sub(filter, message->topic, &match);
	if (!match || got >= wanted)
		return;
	heard[got] = cJSON_ParseWithLength(message->payload, message->payloadlen);
	if (heard[got++] == NULL)
		fail("%s: no JSON: %.*s", message->topic, message->payloadlen, (char *)message->payload);
}

static void on_subscribe(struct mosquitto *m, void *data, int id, int n, const int *qos)
{
	(void)m, (void)data, (void)id, (void)n, (void)qos;
	ready = 1;
}

static void turn(int *until, int at_least)
{
	time_t end = time(NULL) + 30;
	while (*until < at_least) {
		if (mosquitto_loop(broker, 1000, 1) != MOSQ_ERR_SUCCESS)
			fail("the connection has ended");
		if (time(NULL) > end)
			fail("nothing came on %s", filter);
	}
}

static void hear(const char *on, int n)
{
	filter = on, wanted = n, got = 0, ready = 0;
	mosquitto_subscribe(broker, NULL, on, 1);
	turn(&ready, 1);
}

static cJSON *first(const char *on)
{
	hear(on, 1);
	turn(&got, 1);
	mosquitto_unsubscribe(broker, NULL, on);
	return heard[0];
}

/* fill replaces {names} by values: fill("a/{b}", "b", "c", NULL) is "a/c". */
static char *fill(const char *template, ...)
{
	char *out = calloc(1, 1024), *at = out;
	while (*template) {
		const char *name, *end = strchr(template, '}');
		va_list args;
		if (*template != '{') {
			*at++ = *template++;
			continue;
		}
		va_start(args, template);
		while ((name = va_arg(args, const char *)) != NULL) {
			const char *value = va_arg(args, const char *);
			if (strlen(name) == (size_t)(end - template - 1) && strncmp(name, template + 1, strlen(name)) == 0)
				at += sprintf(at, "%s", value);
		}
		va_end(args);
		template = end + 1;
	}
	return out;
}

static const cJSON *get(const cJSON *of, const char *key) { return cJSON_GetObjectItemCaseSensitive(of, key); }
static const char *text(const cJSON *of, const char *key)
{
	const char *s = cJSON_GetStringValue(get(of, key));
	if (s == NULL)
		fail("%s is missing", key);
	return s;
}

static const cJSON *resolve(const cJSON *defs, const cJSON *rule)
{
	const cJSON *ref = get(rule, "$ref");
	return ref == NULL ? rule : get(defs, strrchr(ref->valuestring, '/') + 1);
}

static int is(const cJSON *v, const char *type)
{
	return (!strcmp(type, "object") && cJSON_IsObject(v)) || (!strcmp(type, "array") && cJSON_IsArray(v)) ||
	       (!strcmp(type, "string") && cJSON_IsString(v)) || (!strcmp(type, "boolean") && cJSON_IsBool(v)) ||
	       (!strcmp(type, "number") && cJSON_IsNumber(v)) ||
	       (!strcmp(type, "integer") && cJSON_IsNumber(v) && v->valuedouble == (double)(long long)v->valuedouble);
}

/* valid reports whether a value conforms to a schema. */
static int valid(const cJSON *v, const cJSON *defs, const cJSON *rule)
{
	const cJSON *x, *each;
	int ok;
	rule = resolve(defs, rule);
	if ((x = get(rule, "anyOf")) != NULL) {
		ok = 0;
		cJSON_ArrayForEach(each, x) ok |= valid(v, defs, each);
		if (!ok)
			return 0;
	}
	if ((x = get(rule, "enum")) != NULL) {
		ok = 0;
		cJSON_ArrayForEach(each, x) ok |= cJSON_Compare(v, each, 1);
		if (!ok)
			return 0;
	}
	if ((x = get(rule, "type")) != NULL) {
		ok = cJSON_IsString(x) && is(v, x->valuestring);
		if (cJSON_IsArray(x))
			cJSON_ArrayForEach(each, x) ok |= is(v, each->valuestring);
		if (!ok)
			return 0;
	}
	if (cJSON_IsNumber(v) && (((x = get(rule, "minimum")) && v->valuedouble < x->valuedouble) ||
				  ((x = get(rule, "maximum")) && v->valuedouble > x->valuedouble)))
		return 0;
	if (cJSON_IsArray(v)) {
		if (((x = get(rule, "minItems")) && cJSON_GetArraySize(v) < x->valueint) ||
		    ((x = get(rule, "maxItems")) && cJSON_GetArraySize(v) > x->valueint))
			return 0;
		if ((x = get(rule, "items")) != NULL)
			cJSON_ArrayForEach(each, v) if (!valid(each, defs, x)) return 0;
	}
	if (cJSON_IsObject(v)) {
		const cJSON *properties = get(rule, "properties");
		cJSON_ArrayForEach(each, get(rule, "required")) if (get(v, each->valuestring) == NULL) return 0;
		cJSON_ArrayForEach(each, v) if ((x = get(properties, each->string)) != NULL && !valid(each, defs, x)) return 0;
	}
	return 1;
}

static void check(const cJSON *v, const cJSON *description, const char *of)
{
	const cJSON *defs = get(description, "$defs");
	if (get(defs, of) == NULL)
		fail("there is no schema of %s", of);
	if (!valid(v, defs, get(defs, of)))
		fail("%s: %s is not as the schema says", of, cJSON_PrintUnformatted(v));
}

/* build makes the smallest value that a schema allows, whose numbers are NUMBER above the minimum. */
static cJSON *build(const cJSON *defs, const cJSON *rule)
{
	const cJSON *each, *x;
	cJSON *v;
	const char *type;
	rule = resolve(defs, rule);
	if ((x = get(rule, "enum")) != NULL)
		return cJSON_Duplicate(cJSON_GetArrayItem(x, 0), 1);
	type = cJSON_IsString(get(rule, "type")) ? text(rule, "type") : "integer";
	if (!strcmp(type, "object")) {
		v = cJSON_CreateObject();
		cJSON_ArrayForEach(each, get(rule, "required"))
			cJSON_AddItemToObject(v, each->valuestring, build(defs, get(get(rule, "properties"), each->valuestring)));
		return v;
	}
	if (!strcmp(type, "array")) {
		v = cJSON_CreateArray();
		cJSON_AddItemToArray(v, build(defs, get(rule, "items")));
		return v;
	}
	if (!strcmp(type, "boolean"))
		return cJSON_CreateTrue();
	if (!strcmp(type, "string"))
		return cJSON_CreateString("x");
	return cJSON_CreateNumber(((x = get(rule, "minimum")) ? x->valuedouble : 0) + number);
}

static cJSON *call(const cJSON *way, const char *path, const char *method, const char *token, const char *request)
{
	char *answer = fill(text(way, "answer"), "client", client, "token", token, NULL);
	char *topic = fill(text(way, "call"), "path", path, "method", method, "token", token, NULL);
	hear(answer, 1);
	mosquitto_publish(broker, NULL, topic, (int)strlen(request), request, 1, false);
	turn(&got, 1);
	return heard[0];
}

int main(int argc, char **argv)
{
	const cJSON *index, *way, *kind, *service, *method, *write = NULL, *leaf, *description = NULL, *one, *listing, *defs;
	const char *path = NULL;
	cJSON *request, *answer;
	char *body;
	int i;
	if (argc != 3)
		fail("client PORT NUMBER");
	number = atoi(argv[2]);
	sprintf(client, "c-%d", number);
	mosquitto_lib_init();
	broker = mosquitto_new(client, true, NULL);
	mosquitto_message_callback_set(broker, on_message);
	mosquitto_subscribe_callback_set(broker, on_subscribe);
	if (mosquitto_connect(broker, "127.0.0.1", atoi(argv[1]), 60) != MOSQ_ERR_SUCCESS)
		fail("nobody listens");

	index = first("state/catalogue");
	cJSON_ArrayForEach(way, get(index, "ways")) if (!strcmp(text(way, "door"), "mqtt")) break;
	cJSON_ArrayForEach(kind, get(index, "kinds")) {
		one = first(fill("state/catalogue/Kind/{kind}", "kind", text(kind, "kind"), NULL));
		cJSON_ArrayForEach(service, get(one, "services"))
			cJSON_ArrayForEach(method, get(service, "methods"))
				if (!strncmp(text(method, "name"), "Write", 5) && cJSON_GetArraySize(get(kind, "actors")) > 0 && description != one)
					description = one, write = method, path = cJSON_GetArrayItem(get(kind, "actors"), 0)->valuestring;
	}
	if (write == NULL)
		fail("nothing can be written to");
	listing = first(fill("state/catalogue/{path}", "path", path, NULL));
	if (strcmp(text(listing, "kind"), text(description, "kind")))
		fail("listed as %s", cJSON_PrintUnformatted(listing));

	defs = get(description, "$defs");
	request = build(defs, get(defs, text(write, "request")));
	check(request, description, text(write, "request"));
	body = cJSON_PrintUnformatted(request);
	answer = call(way, path, text(write, "name"), "1", body);
	if (get(answer, "code") != NULL)
		fail("refused: %s", cJSON_PrintUnformatted(answer));
	check(answer, description, text(write, "response"));
	answer = call(way, path, text(write, "name"), "2", "{\"nonsense\": 1}");
	check(answer, description, text(description, "error"));
	if (strcmp(text(answer, "code"), "invalid_argument"))
		fail("refused by %s", cJSON_PrintUnformatted(answer));

	cJSON_ArrayForEach(leaf, get(description, "publishes")) if (!strcmp(text(leaf, "class"), "data")) break;
	hear(fill(text(leaf, "topic"), "path", path, NULL), 3);
	turn(&got, 3);
	for (i = 0; i < 3; i++) {
		check(heard[i], description, text(leaf, "message"));
		if (cJSON_GetArraySize(get(heard[i], "samples")) < 1)
			fail("no samples: %s", cJSON_PrintUnformatted(heard[i]));
	}
	printf("%s %s %s and three messages of %s\n", path, text(write, "name"), body, text(leaf, "message"));
	mosquitto_disconnect(broker);
	return 0;
}
