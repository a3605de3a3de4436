// Where does each number of a plane lie in its phases for windows of stride 2? Found once for a geometry.
#pragma once

#include <vector>

#include "core/planes.hpp"
#include "kernels/plane_jobs.hpp"

namespace mezzotint {

class Routes {
 public:
  Routes() = default;
  // phases: one to four of y's, phase by phase. They may have more images abreast: whole ones of y's, side by side.
  Routes(const Planes& y, const Planes& phases);

  // beside: of PhaseRoutes.
  [[nodiscard]] PhaseRoutes view(std::int64_t beside) const {
    return {routes_.data(), starts_.data(), gaps_.data(), static_cast<std::int64_t>(gaps_.size()), behind_, beside};
  }

 private:
  std::vector<PhaseRoute> routes_;
  std::vector<std::int32_t> starts_;
  std::vector<PhaseRoutes::Gap> gaps_;
  PhaseRoutes::Gap behind_{};
};

}  // namespace mezzotint
