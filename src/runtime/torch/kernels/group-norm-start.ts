/**
 * @file What the kernels of group norm begin with: which pixels and channels a thread has, its loads, and the sums
 * that go from the first launch to the second.
 */

/** A thread has one pack of channels of every ROWS-th pixel of a part. */
export const groupNormStart = `
#define GROUP_CHANNELS (CHANNELS / GROUPS)
#define SLICES (CHANNELS / SLICE)
#define SLICE_GROUPS (SLICE / GROUP_CHANNELS)
#define ROW_PACKS (SLICE / WIDTH)
#define STRIDE (ROWS * CHANNELS)
#define PACKS_OF_GROUP \\
  (GROUP_CHANNELS % WIDTH == 0 || WIDTH % GROUP_CHANNELS == 0 ? (GROUP_CHANNELS - 1) / WIDTH + 1 \\
                                                              : (GROUP_CHANNELS - 2) / WIDTH + 2)

/** \`left\` is how many pixels there are from the thread's first one to the end of the part. */
struct Place {
  int slice, part, channel, left, packGroup, packOffset;
  long long at;
};

__device__ inline Place placeOf(int pixels, int partPixels) {
  Place place;
  place.slice = blockIdx.x % SLICES;
  place.part = blockIdx.x / SLICES;
  const int inSlice = threadIdx.x % ROW_PACKS * WIDTH;
  const int row = threadIdx.x / ROW_PACKS;
  place.channel = place.slice * SLICE + inSlice;
  place.packGroup = inSlice / GROUP_CHANNELS;
  place.packOffset = inSlice % GROUP_CHANNELS;
  const int begin = place.part * partPixels + row;
  // Those that make the last warp a whole one have none.
  place.left = row < ROWS ? min((place.part + 1) * partPixels, pixels) - begin : 0;
  place.at = ((long long)blockIdx.y * pixels + begin) * CHANNELS + place.channel;
  return place;
}

/** Which of the pack's groups its j-th channel is of. */
__device__ inline int groupInPack(const Place& place, int j) {
  if (SPAN == 1) return 0;
  if (WIDTH % GROUP_CHANNELS == 0) return j / GROUP_CHANNELS;
  int group = 0;
#pragma unroll
  for (int k = 1; k < SPAN; k++) group += place.packOffset + j >= k * GROUP_CHANNELS;
  return group;
}

/** Which of the slice's groups that is. */
__device__ inline int groupInSlice(const Place& place, int j) {
  return place.packGroup + groupInPack(place, j);
}

__device__ inline int firstGroup(const Place& place) {
  return blockIdx.y * GROUPS + place.slice * SLICE_GROUPS;
}

/** The i-th of the thread's packs, if there is one. */
__device__ inline void loadStep(Bits& held, const T* from, int i, int left) {
  if (i * ROWS < left) held = *(const Bits*)(from + i * STRIDE);
}

__device__ inline void loadBatch(Bits* held, const T* from, int left) {
#pragma unroll
  for (int i = 0; i < BATCH; i++) loadStep(held[i], from, i, left);
}

/** Of ADDERS neighbouring threads, for each of them. */
__device__ inline float2 sumOfAdders(float2 sum) {
#pragma unroll
  for (int distance = ADDERS / 2; distance > 0; distance /= 2) {
    sum.x += __shfl_xor_sync(0xffffffffu, sum.x, distance);
    sum.y += __shfl_xor_sync(0xffffffffu, sum.y, distance);
  }
  return sum;
}

/** Sums of the groups of this block, from those of each thread's channels. */
__device__ inline void writeSums(
    const Place& place, const float* first, const float* second, float2* sums) {
  __shared__ float2 byThread[SPAN][THREADS];
#pragma unroll
  for (int k = 0; k < SPAN; k++) {
    float2 sum = {0.0f, 0.0f};
#pragma unroll
    for (int j = 0; j < WIDTH; j++) {
      if (groupInPack(place, j) != k) continue;
      sum.x += first[j];
      sum.y += second[j];
    }
    byThread[k][threadIdx.x] = sum;
  }
  __syncthreads();
  const int group = threadIdx.x / ADDERS;
  const int adder = threadIdx.x % ADDERS;
  float2 sum = {0.0f, 0.0f};
  if (group < SLICE_GROUPS) {
    for (int i = adder; i < ROWS * PACKS_OF_GROUP; i += ADDERS) {
      const int pack = group * GROUP_CHANNELS / WIDTH + i % PACKS_OF_GROUP;
      if (pack * WIDTH >= (group + 1) * GROUP_CHANNELS) continue;
      const int k = group - pack * WIDTH / GROUP_CHANNELS;
      const float2 more = byThread[k][i / PACKS_OF_GROUP * ROW_PACKS + pack];
      sum.x += more.x;
      sum.y += more.y;
    }
  }
  sum = sumOfAdders(sum);
  if (group < SLICE_GROUPS && adder == 0) {
    const int parts = gridDim.x / SLICES;
    sums[(long long)(firstGroup(place) + group) * parts + place.part] = sum;
  }
}

/** Sums of a group of the whole image, for its ADDERS threads. */
__device__ inline float2 readSums(const Place& place, const float2* sums, int parts) {
  const int group = threadIdx.x / ADDERS;
  const float2* from = sums + (long long)(firstGroup(place) + group) * parts;
  float2 sum = {0.0f, 0.0f};
#pragma unroll
  for (int k = 0; k < (MOST_PARTS + ADDERS - 1) / ADDERS; k++) {
    const int i = threadIdx.x % ADDERS + k * ADDERS;
    const bool is = group < SLICE_GROUPS && i < parts;
    const float2 more = is ? from[i] : float2{0.0f, 0.0f};
    sum.x += more.x;
    sum.y += more.y;
  }
  return sumOfAdders(sum);
}
`;
