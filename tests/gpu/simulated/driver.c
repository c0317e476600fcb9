/* A CUDA driver whose GPU is the host: device memory is host memory, a stream runs each call at once, and a stream
   that is being recorded keeps calls for later. Counts what is held, so that tests can tell a leak. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500, CAPTURE_INVALID = 901 };

typedef void (*HostFunction)(void *);
typedef struct Call {
  enum { COPY, HOST } kind;
  void *target;
  const void *source;
  size_t size;
  HostFunction function;
  struct Call *next;
} Call;
typedef struct Graph { Call *first, *last; } Graph;
typedef struct Stream { Graph *recording; } Stream;

static long allocated_device, allocated_host, streams, graphs, launches, device_limit = 1L << 34;
enum { DEPTH = 8 };
static __thread void *current, *before[DEPTH];
static __thread int depth;

long simulated_device_bytes(void) { return allocated_device; }
long simulated_host_bytes(void) { return allocated_host; }
long simulated_streams(void) { return streams; }
long simulated_graphs(void) { return graphs; }
long simulated_current(void) { return (long)current; }
long simulated_launches(void) { return launches; }
int simulated_recording(const Stream *stream) { return stream->recording != NULL; }
void simulated_limit(long bytes) { device_limit = bytes; }

static void play(const Call *call) {
  if (call->kind == COPY) memcpy(call->target, call->source, call->size);
  else call->function(call->target);
}

static CUresult put(Stream *stream, Call call) {
  if (!current) return 201; /* CUDA_ERROR_INVALID_CONTEXT */
  if (!stream->recording) { play(&call); return SUCCESS; }
  Call *kept = malloc(sizeof call);
  *kept = call;
  kept->next = NULL;
  Graph *graph = stream->recording;
  if (graph->last) graph->last->next = kept; else graph->first = kept;
  graph->last = kept;
  return SUCCESS;
}

static long *header(void *memory) { return (long *)((char *)memory - 256); }

static CUresult take(void **out, size_t bytes, long *count, long limit) {
  if (!current) return 201;
  if (*count + (long)bytes > limit) return OUT_OF_MEMORY;
  char *memory = aligned_alloc(256, 256 + (bytes + 255) / 256 * 256);
  memset(memory, 0x7f, 256 + bytes); /* fresh memory is never zero by luck */
  *(long *)memory = (long)bytes;
  *count += (long)bytes;
  *out = memory + 256;
  return SUCCESS;
}

static CUresult give(void *memory, long *count) {
  *count -= *header(memory);
  free(header(memory));
  return SUCCESS;
}

CUresult cuInit(unsigned flags) { (void)flags; return SUCCESS; }
CUresult cuDriverGetVersion(int *version) { *version = 13000; return SUCCESS; }
CUresult cuDeviceGetCount(int *count) { *count = 2; return SUCCESS; }
CUresult cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal < 2 ? SUCCESS : 101; }
CUresult cuDeviceGetName(char *name, int size, int device) {
  (void)device;
  strncpy(name, "Simulated GPU", (size_t)size);
  return SUCCESS;
}
CUresult cuDeviceGetAttribute(int *value, int which, int device) {
  (void)device;
  *value = which == 75 ? 8 : which == 76 ? 9 : 0;
  return SUCCESS;
}
CUresult cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)(intptr_t)(device + 1); return SUCCESS; }
CUresult cuDevicePrimaryCtxRelease(int device) { (void)device; return SUCCESS; }
CUresult cuCtxPushCurrent(void *context) {
  if (depth == DEPTH) return INVALID_VALUE;
  before[depth++] = current;
  current = context;
  return SUCCESS;
}
CUresult cuCtxPopCurrent(void **context) {
  if (!depth) return 201;
  if (context) *context = current;
  current = before[--depth];
  return SUCCESS;
}
CUresult cuMemGetInfo(size_t *unused, size_t *total) {
  *unused = (size_t)(device_limit - allocated_device);
  *total = (size_t)device_limit;
  return SUCCESS;
}
CUresult cuMemAlloc(uint64_t *pointer, size_t bytes) { return take((void **)pointer, bytes, &allocated_device, device_limit); }
CUresult cuMemFree(uint64_t pointer) { return give((void *)pointer, &allocated_device); }
CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) {
  (void)flags;
  return take(pointer, bytes, &allocated_host, 1L << 34);
}
CUresult cuMemFreeHost(void *pointer) { return give(pointer, &allocated_host); }
CUresult cuStreamCreate(Stream **stream, unsigned flags) {
  (void)flags;
  *stream = calloc(1, sizeof **stream);
  streams++;
  return SUCCESS;
}
CUresult cuStreamDestroy(Stream *stream) { free(stream); streams--; return SUCCESS; }
CUresult cuStreamSynchronize(Stream *stream) { return stream->recording ? CAPTURE_INVALID : SUCCESS; }
CUresult cuMemcpyHtoDAsync(uint64_t target, const void *source, size_t bytes, Stream *stream) {
  return put(stream, (Call){COPY, (void *)target, source, bytes, NULL, NULL});
}
CUresult cuMemcpyDtoHAsync(void *target, uint64_t source, size_t bytes, Stream *stream) {
  return put(stream, (Call){COPY, target, (void *)source, bytes, NULL, NULL});
}
CUresult cuLaunchHostFunc(Stream *stream, HostFunction function, void *data) {
  return put(stream, (Call){HOST, data, NULL, 0, function, NULL});
}
CUresult cuStreamBeginCapture(Stream *stream, int mode) {
  (void)mode;
  stream->recording = calloc(1, sizeof(Graph));
  return SUCCESS;
}
CUresult cuStreamEndCapture(Stream *stream, Graph **graph) {
  *graph = stream->recording;
  stream->recording = NULL;
  return *graph ? SUCCESS : CAPTURE_INVALID;
}
/* An executable graph is a copy: the recorded one may be destroyed. */
CUresult cuGraphInstantiateWithFlags(Graph **out, Graph *graph, unsigned long long flags) {
  (void)flags;
  Stream copy = {calloc(1, sizeof(Graph))};
  for (Call *call = graph->first; call; call = call->next) put(&copy, *call);
  *out = copy.recording;
  graphs++;
  return SUCCESS;
}
static void drop(Graph *graph) {
  for (Call *call = graph->first, *next; call; call = next) { next = call->next; free(call); }
  free(graph);
}
CUresult cuGraphDestroy(Graph *graph) { drop(graph); return SUCCESS; }
CUresult cuGraphExecDestroy(Graph *graph) { drop(graph); graphs--; return SUCCESS; }
CUresult cuGraphLaunch(Graph *graph, Stream *stream) {
  launches++;
  for (Call *call = graph->first; call; call = call->next) put(stream, *call);
  return SUCCESS;
}
CUresult cuGetErrorName(CUresult status, const char **name) {
  *name = status == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_UNKNOWN";
  return SUCCESS;
}
CUresult cuGetErrorString(CUresult status, const char **words) {
  *words = status == OUT_OF_MEMORY ? "out of memory" : "unknown";
  return SUCCESS;
}

#define KNOWN(name) {#name, (void *)name}
CUresult cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *status) {
  (void)version;
  (void)flags;
  static const struct { const char *name; void *function; } known[] = {
      KNOWN(cuInit), KNOWN(cuDriverGetVersion), KNOWN(cuDeviceGetCount), KNOWN(cuDeviceGet), KNOWN(cuDeviceGetName),
      KNOWN(cuDeviceGetAttribute), KNOWN(cuDevicePrimaryCtxRetain), KNOWN(cuDevicePrimaryCtxRelease),
      KNOWN(cuCtxPushCurrent), KNOWN(cuCtxPopCurrent), KNOWN(cuMemGetInfo), KNOWN(cuMemAlloc), KNOWN(cuMemFree), KNOWN(cuMemHostAlloc),
      KNOWN(cuMemFreeHost), KNOWN(cuStreamCreate), KNOWN(cuStreamDestroy), KNOWN(cuStreamSynchronize),
      KNOWN(cuMemcpyHtoDAsync), KNOWN(cuMemcpyDtoHAsync), KNOWN(cuLaunchHostFunc), KNOWN(cuStreamBeginCapture),
      KNOWN(cuStreamEndCapture), KNOWN(cuGraphInstantiateWithFlags), KNOWN(cuGraphDestroy), KNOWN(cuGraphExecDestroy),
      KNOWN(cuGraphLaunch), KNOWN(cuGetErrorName), KNOWN(cuGetErrorString), KNOWN(cuGetProcAddress_v2),
      {"cuGetProcAddress", (void *)cuGetProcAddress_v2}};
  *function = NULL;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (!strcmp(symbol, known[i].name)) *function = known[i].function;
  if (status) *status = *function ? 0 : 1;
  return *function ? SUCCESS : NOT_FOUND;
}
