import SwiftUI
import UIKit

@main
struct EganSampleApp: App {
    var body: some Scene {
        WindowGroup { DecisionView() }
    }
}

/// A button that takes a picture, and the model's decision on it.
struct DecisionView: View {
    @State private var model: EganModel?
    @State private var answer = "Loading the model"
    @State private var isTakingPicture = false

    var body: some View {
        VStack(spacing: 24) {
            Text(answer).font(.title2).multilineTextAlignment(.center)
            Button("Take a picture") { isTakingPicture = true }.disabled(model == nil)
        }
        .padding()
        .task { load() }
        .sheet(isPresented: $isTakingPicture) {
            CameraView { image in Task { await show(image) } }
        }
    }

    private func load() {
        do {
            model = try EganModel()
            answer = "Ready"
        } catch {
            answer = error.localizedDescription
        }
    }

    private func show(_ image: UIImage) async {
        guard let model else { return }
        do {
            let decision = try await model.score(image)
            let classes = model.contract.classes
            let names = decision.isMinority ? classes.minority : classes.majority
            let score = String(format: "%.2f", decision.score)
            answer = "\(names.joined(separator: " / "))\nscore \(score)"
        } catch {
            answer = error.localizedDescription
        }
    }
}
