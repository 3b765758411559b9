/*
 * Records what a program runs on an NVIDIA GPU, kernel by kernel and copy by copy, inside of captured graphs
 * too. NVIDIA's driver loads it into any program, sdl-train as well as Python:
 *
 *     cc -shared -fPIC -O2 -I cuda/include record-kernels.c -o record-kernels.so -L cuda/lib -lcupti
 *     CUDA_INJECTION64_PATH=$PWD/record-kernels.so KERNEL_TIMES=times.txt program
 *
 * times.txt has a line "<start> <end> <stream> <number of the name> <blocks>" for each, nanoseconds of the GPU's
 * clock, behind the names "# <number> <name>". summarize-kernels.ts reads it. Source: CUPTI's activity interface, NVIDIA's
 * documentation of CUDA 13.
 */

#include <cupti.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { bufferBytes = 8 << 20, mostNames = 8192 };

static FILE *out;
static char *names[mostNames];
static int known;

/* CUPTI calls from one thread at a time. */
static int numberOf(const char *name) {
  for (int i = 0; i < known; i++) {
    if (strcmp(names[i], name) == 0) return i;
  }
  if (known == mostNames) return mostNames;
  names[known] = strdup(name);
  fprintf(out, "# %d %s\n", known, name);
  return known++;
}

static void line(uint64_t start, uint64_t end, uint32_t stream, const char *name, int blocks) {
  int number = numberOf(name);
  fprintf(out, "%llu %llu %u %d %d\n", (unsigned long long)start, (unsigned long long)end, stream, number, blocks);
}

static void CUPTIAPI giveBuffer(uint8_t **buffer, size_t *size, size_t *most) {
  *size = bufferBytes;
  *most = 0;
  if (posix_memalign((void **)buffer, 8, bufferBytes) != 0) *buffer = NULL;
}

static void CUPTIAPI takeBuffer(CUcontext context, uint32_t streamId, uint8_t *buffer, size_t size, size_t used) {
  (void)context, (void)streamId, (void)size;
  CUpti_Activity *record = NULL;
  char copy[32];
  while (cuptiActivityGetNextRecord(buffer, used, &record) == CUPTI_SUCCESS) {
    if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
      const CUpti_ActivityKernel10 *kernel = (const void *)record;
      line(kernel->start, kernel->end, kernel->streamId, kernel->name,
           kernel->gridX * kernel->gridY * kernel->gridZ);
    } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
      const CUpti_ActivityMemcpy6 *memcpyRecord = (const void *)record;
      snprintf(copy, sizeof copy, "memcpy kind %d", memcpyRecord->copyKind);
      line(memcpyRecord->start, memcpyRecord->end, memcpyRecord->streamId, copy, 0);
    } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMSET) {
      const CUpti_ActivityMemset4 *memsetRecord = (const void *)record;
      line(memsetRecord->start, memsetRecord->end, memsetRecord->streamId, "memset", 0);
    }
  }
  free(buffer);
}

static void finish(void) {
  cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
  fflush(out);
}

/* The driver calls it when a program first uses CUDA. */
__attribute__((visibility("default"))) int InitializeInjection(void) {
  const char *path = getenv("KERNEL_TIMES");
  out = path ? fopen(path, "w") : NULL;
  if (!out) {
    fprintf(stderr, "KERNEL_TIMES: give a file that can be written\n");
    return 1;
  }
  /* Programs that it starts would write the same file. */
  unsetenv("CUDA_INJECTION64_PATH");
  cuptiActivityRegisterCallbacks(giveBuffer, takeBuffer);
  cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
  cuptiActivityEnable(CUPTI_ACTIVITY_KIND_MEMCPY);
  cuptiActivityEnable(CUPTI_ACTIVITY_KIND_MEMSET);
  atexit(finish);
  return 1;
}
