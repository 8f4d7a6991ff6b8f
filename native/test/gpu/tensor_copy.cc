// Copies of boxes of matrices between global and shared memory, and stores that a barrier of another block counts.
#include "gpu/decoder.h"
#include "gpu/mbarrier.h"
#include "gpu/tensor_map.h"

namespace npr::gpu {
namespace {

const TensorMap& map_at(const Warp& w, uint64_t address) {
  const uint64_t offset = address - reinterpret_cast<uint64_t>(w.launch->parameters.data());
  if (offset + sizeof(TensorMap) > w.launch->parameters.size()) fault("a tensor map that is no parameter");
  const auto& map = *reinterpret_cast<const TensorMap*>(address);
  if (map.mark != TensorMap::described) fault("a tensor map that was never encoded");
  return map;
}

struct Box {
  TensorMap map;
  int32_t column, row;
  uint32_t shared;  // address of the window

  // f(bytes in shared memory, bytes in global memory or nullptr outside the matrix, how many), by units that the
  // swizzle keeps together.
  template <class F>
  void each_unit(Warp& w, Block& block, Warp::Use use, F f) const {
    constexpr uint32_t unit = 16;
    const uint32_t elements = unit / map.element, begin = shared & ((1u << rank_shift) - 1);
    if (begin % 1024) fault("a box at an address that is not a multiple of 1024");
    if (begin < shared_begin || begin - shared_begin + bytes() > block.shared.size()) {
      fault("a box that reaches beyond shared memory");
    }
    for (uint32_t r = 0; r < map.box_rows; ++r) {
      for (uint32_t u = 0; u < map.box_columns / elements; ++u) {
        const uint32_t at = swizzled_128(begin + r * 128 + u * unit) - shared_begin;
        const int64_t row_at = int64_t{row} + r, column_at = int64_t{column} + u * elements;
        for (uint32_t e = 0; e < elements; ++e) {
          const int64_t c = column_at + e;
          const bool inside =
              row_at >= 0 && row_at < static_cast<int64_t>(map.rows) && c >= 0 && c < static_cast<int64_t>(map.columns);
          const uint64_t address =
              map.data + static_cast<uint64_t>(row_at) * map.stride + static_cast<uint64_t>(c) * map.element;
          f(block.shared.data() + at + e * map.element, inside ? w.global_at(address, map.element, use) : nullptr,
            map.element);
        }
      }
    }
  }
  uint32_t bytes() const { return map.box_rows * 128; }

  // Of global memory, when the copy is started: it may land when the launches before have been waited for.
  void check_use(Warp& w, Warp::Use use) const {
    for (uint32_t r = 0; r < map.box_rows; ++r) {
      for (uint32_t c = 0; c < map.box_columns; ++c) {
        if (row + int64_t{r} < 0 || row + int64_t{r} >= static_cast<int64_t>(map.rows)) continue;
        if (column + int64_t{c} < 0 || column + int64_t{c} >= static_cast<int64_t>(map.columns)) continue;
        w.note_use(map.data + static_cast<uint64_t>(row + int64_t{r}) * map.stride +
                       static_cast<uint64_t>(column + int64_t{c}) * map.element,
                   use);
      }
    }
  }
};

// Operands: to, map, barrier, column, row; and the mask of blocks where immediate is 1.
void load_box(Warp& w, const Instruction& i, uint32_t mask) {
  each_lane(mask, [&](uint32_t l) {
    const Box box{map_at(w, w.reg<uint64_t>(i.o[1])[l]), static_cast<int32_t>(w.reg<uint32_t>(i.o[3])[l]),
                  static_cast<int32_t>(w.reg<uint32_t>(i.o[4])[l]), w.reg<uint32_t>(i.o[0])[l]};
    if (w.launch->overlaps && !w.block->waited) box.check_use(w, Warp::Use::read);
    const uint32_t barrier = w.reg<uint32_t>(i.o[2])[l] & ((1u << rank_shift) - 1);
    Cluster& cluster = *w.block->cluster;
    uint32_t blocks = 1u << w.block->rank;
    if (i.immediate) blocks = w.reg<uint16_t>(i.o[5])[l];
    each_lane(blocks, [&](uint32_t rank) {
      if (rank >= cluster.blocks.size()) fault("a copy to a block that the cluster doesn't have");
      const auto copy = [box, rank, barrier, &w, &cluster, started = w.now()] {
        Block& block = cluster.blocks[rank];
        if (block.warps_left == 0) fault("a box is copied to a block that has ended");
        const uint32_t begin = box.shared & ((1u << rank_shift) - 1);
        check_unread(block, begin, begin + box.bytes());
        box.each_unit(w, block, Warp::Use::read, [](uint8_t* to, const uint8_t* from, uint32_t bytes) {
          from ? std::memcpy(to, from, bytes) : std::memset(to, 0, bytes);
        });
        if (cluster.races) {
          cluster.races->write(w.in_cluster, started, rank, begin - shared_begin, box.bytes());
          cluster.races->release(started, object_of(rank, barrier));
        }
        mbarrier_at(w, barrier | (rank + 1) << rank_shift).complete(box.bytes());
      };
      if (w.coin()) {
        copy();
      } else {
        cluster.in_flight.push_back(copy);
      }
    });
  });
}

// Operands: map, column, row, from.
void store_box(Warp& w, const Instruction& i, uint32_t mask) {
  each_lane(mask, [&](uint32_t l) {
    const Box box{map_at(w, w.reg<uint64_t>(i.o[0])[l]), static_cast<int32_t>(w.reg<uint32_t>(i.o[1])[l]),
                  static_cast<int32_t>(w.reg<uint32_t>(i.o[2])[l]), w.reg<uint32_t>(i.o[3])[l]};
    if (w.launch->overlaps && !w.block->waited) box.check_use(w, Warp::Use::write);
    w.stores.add(w.coin(), [box, &w, started = w.now()] {
      box.each_unit(w, *w.block, Warp::Use::write, [](const uint8_t* from, uint8_t* to, uint32_t bytes) {
        if (to) std::memcpy(to, from, bytes);
      });
      if (RaceCheck* races = w.block->cluster->races.get()) {
        const uint32_t begin = box.shared & ((1u << rank_shift) - 1);
        races->read(w.in_cluster, started, w.block->rank, begin - shared_begin, box.bytes());
      }
    });
  });
}
void commit_stores(Warp& w, const Instruction&, uint32_t) { w.stores.commit(); }
void wait_stores(Warp& w, const Instruction& i, uint32_t) { w.stores.wait(static_cast<size_t>(i.immediate)); }

// Operands: to, x, barrier; both addresses of the cluster's window.
void store_counted(Warp& w, const Instruction& i, uint32_t mask) {
  each_lane(mask, [&](uint32_t l) {
    const uint32_t to = w.reg<uint32_t>(i.o[0])[l], barrier = w.reg<uint32_t>(i.o[2])[l],
                   x = w.reg<uint32_t>(i.o[1])[l];
    const auto copy = [=, &w, started = w.now()] {
      uint8_t* const at = w.shared(to, 4, Warp::Use::unseen);
      const uint32_t begin = to & ((1u << rank_shift) - 1);
      check_unread(w.block_of(to), begin, begin + 4);
      if (RaceCheck* races = w.block->cluster->races.get()) {
        races->write(w.in_cluster, started, w.block_of(to).rank, begin - shared_begin, 4);
        races->release(started, mbarrier_object(w, barrier));
      }
      std::memcpy(at, &x, 4);
      mbarrier_at(w, barrier).complete(4);
    };
    if (w.coin()) {
      copy();
    } else {
      w.block->cluster->in_flight.push_back(copy);
    }
  });
}

// [map,{column,row}]
std::pair<std::string, std::vector<std::string>> box_of(const std::string& operand) {
  const size_t comma = operand.find(',');
  return {operand.substr(0, comma) + "]", list_of(operand.substr(comma + 1, operand.size() - comma - 2))};
}

}  // namespace

Handler decode_tensor_copy(Decoder& d, const Statement& s, const Opcode& o, Instruction& i) {
  const auto& operands = s.operands;
  const auto at_box = [&](const std::string& operand) {
    const auto [map, at] = box_of(operand);
    d.plain_address(map, true);
    return at;
  };
  if (s.opcode.starts_with("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes")) {
    i.immediate = o.has("multicast::cluster");
    d.plain_address(operands[0], false);
    const std::vector<std::string> at = at_box(operands[1]);
    d.plain_address(operands[2], false).value(at[0], 32).value(at[1], 32);
    if (i.immediate) d.value(operands[3], 16);
    return &load_box;
  }
  if (s.opcode == "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group") {
    const std::vector<std::string> at = at_box(operands[0]);
    d.value(at[0], 32).value(at[1], 32).plain_address(operands[1], false);
    return &store_box;
  }
  if (s.opcode.starts_with("cp.async.bulk.prefetch.")) {
    return +[](Warp&, const Instruction&, uint32_t) {};
  }
  if (s.opcode == "cp.async.bulk.commit_group") return &commit_stores;
  if (s.opcode.starts_with("cp.async.bulk.wait_group")) {
    i.immediate = std::stoll(operands[0]);
    return &wait_stores;
  }
  if (s.opcode == "st.async.shared::cluster.mbarrier::complete_tx::bytes.f32") {
    d.plain_address(operands[0], false).value(operands[1], 32).plain_address(operands[2], false);
    return &store_counted;
  }
  return nullptr;
}

}  // namespace npr::gpu
